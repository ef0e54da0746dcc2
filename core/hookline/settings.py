"""Settings: core's own and each plugin's, from code, the environment and `hookline.toml`, in that precedence.

hookline.toml               database = "runs.db"
the environment             HOOKLINE_DATABASE=runs.db
one of a plugin's           [plugins.slack] channel = "#alerts"  or  HOOKLINE_PLUGIN_SLACK__CHANNEL=#alerts
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar, cast

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from hookline.api_keys import hash_key, is_hash, read_key
from hookline.errors import ConfigurationError

M = TypeVar("M", bound=BaseSettings)

SETTINGS_FILE = "hookline.toml"

ENVIRONMENT_PREFIX = "HOOKLINE_"

_SECRET = frozenset({"api_keys"})
"""Fields whose values no message shows."""

_FILE_NAMES = {"plugins": "allow_plugins"}
"""Fields that the file calls otherwise: `plugins` is the table of the plugins' own settings there."""


def _words(value: object) -> object:
    if isinstance(value, str):
        return [word for word in (part.strip() for part in value.split(",")) if word]
    return value


def _api_keys(value: object) -> object:
    keys = _words(value)
    if keys == [] and value != []:
        raise ValueError("there is no key in it: give one, or leave the setting out")
    return keys


def _hashes(keys: list[str]) -> list[str]:
    if not all(key.strip() for key in keys):
        raise ValueError("a key must not be blank")
    return [read_key(key) for key in keys]


Names = Annotated[list[str], NoDecode, BeforeValidator(_words)]
"""Plugins' names; in the environment separated by commas."""

ApiKeyHashes = Annotated[list[str], NoDecode, BeforeValidator(_api_keys), AfterValidator(_hashes)]
"""API keys, of which only the hashes are kept; in the environment separated by commas."""

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """The settings of an AgentOS.

    Each is a keyword here, a key of `hookline.toml` in the working directory, and a variable: `HOOKLINE_` and its
    name in capitals. A keyword wins over a variable, and a variable over the file.

    Attributes:
        storage: which storage keeps the ledger where no `db` is given: a name that a plugin provides.
        database: where that storage keeps it: a path, a URL.
        transport: what serves: a name that a plugin provides.
        api_keys: keys, each of which lets its holder do everything; several, so that they can be replaced one after
            the other. Plain or as `sha256:HEX`, in the file only as the latter; only the hashes are kept.
        shutdown_timeout: seconds that runs and deliveries may take to end at shutdown.
        max_concurrent_runs: more runs at once are turned away (429).
        max_body_size: bytes of a request's body.
        max_id_length: characters of a session's or user's id.
        delivery_concurrency: runs whose deliveries are executed side by side.
        delivery_threads: threads for sync background hooks.
        hook_threads: threads for sync inline hooks.
        tool_threads: threads for sync tools.
        inline_timeout: seconds for an inline hook that has no timeout of its own.
        delivery_timeout: seconds for one attempt of a background hook that has no timeout of its own.
        delivery_retries: attempts after the first one, for a background hook that does not say.
        max_interruptions: how many processes may die in a delivery before it is dead.
        retention_days: days that finished deliveries are kept.
        store_rejected_input: whether the text of a rejected input is kept.
        cancel_on_disconnect: whether a client that leaves ends its run.
        sse_ping: seconds between the heartbeats of a stream.
        disable_plugins: plugins that are not imported.
        plugins: if given, the only installed plugins that are imported (`allow_plugins` in the file).
        required_plugins: plugins without which nothing starts.
        strict_plugins: whether any plugin that cannot be used stops the start.

    Raises:
        ConfigurationError: a value or a name is wrong; the message says where it was found.
    """

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, env_ignore_empty=True, extra="forbid")

    storage: str = "sqlite"
    database: str = "hookline.db"
    transport: str = "fastapi"
    api_keys: ApiKeyHashes = []
    shutdown_timeout: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    max_concurrent_runs: Count = 1000
    max_body_size: Count = 1_048_576
    max_id_length: Annotated[int, Field(ge=36)] = 256
    delivery_concurrency: Count = 64
    delivery_threads: Count = 64
    hook_threads: Count = 40
    tool_threads: Count = 40
    inline_timeout: Seconds = 30.0
    delivery_timeout: Seconds = 60.0
    delivery_retries: Annotated[int, Field(ge=0)] = 3
    max_interruptions: Count = 3
    retention_days: Seconds = 30.0
    store_rejected_input: bool = False
    cancel_on_disconnect: bool = False
    sse_ping: Seconds = 15.0
    disable_plugins: Names = []
    plugins: Names | None = None
    required_plugins: Names = []
    strict_plugins: bool = False

    _given: frozenset[str] = PrivateAttr(default=frozenset())

    if not TYPE_CHECKING:  # type checkers keep the fields as keywords

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise _mistake(error, type(self), values, ENVIRONMENT_PREFIX, SETTINGS_FILE, show_value=True) from None
            self._given = frozenset(values)

    @property
    def given(self) -> frozenset[str]:
        """The names of the fields that were given in code."""
        return self._given

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Code, then the environment, then the file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _core_table(settings_cls))


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process, from the environment and the file; `overrides` win over both.

    Raises:
        ConfigurationError: a value or a name is wrong; one line that names it and where it was found.
    """
    return Settings(**overrides)


def plugin_settings(name: str, model: type[M]) -> M:
    """The settings of one plugin, from `HOOKLINE_PLUGIN_NAME__*` and the table `[plugins.NAME]` of the file.

    Args:
        name: the plugin's name; in variables it is in capitals, with `_` for `-`.
        model: the plugin's settings, with a default for all that it can do without. Its own prefix is not used.

    Raises:
        ConfigurationError: a value or a name is wrong, or one is missing; values are never shown.
    """
    table = _plugin_table(name)
    prefix = variable_prefix_of(name)
    where = f"{SETTINGS_FILE} [plugins.{name}]"
    if unknown := sorted(set(table) - set(model.model_fields)):
        raise _unknown_key(unknown[0], where, list(model.model_fields))

    class Sources:
        model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
            env_prefix=prefix, env_nested_delimiter="__", env_ignore_empty=True, extra="forbid"
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            **_: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, InitSettingsSource(settings_cls, table)

    bound = cast("type[M]", type(model.__name__, (Sources, model), {"model_config": Sources.model_config}))
    try:
        return bound()
    except ValidationError as error:
        raise _mistake(error, bound, {}, prefix, where, show_value=False) from None


DEFAULT = "default"
IN_CODE = "code"


def sources_of(settings: Settings) -> dict[str, str]:
    """Where each setting has its value from, by the name that the file has for it.

    `code`, the name of a variable, `hookline.toml` or `default`: the same precedence as when they were read.
    """
    table = _core_table(type(settings))
    found: dict[str, str] = {}
    for field in type(settings).model_fields:
        variable = None if field in settings.given else _variable_of(field, ENVIRONMENT_PREFIX)
        from_file = SETTINGS_FILE if field in table else DEFAULT
        found[file_name_of(field)] = IN_CODE if field in settings.given else variable or from_file
    return found


def plugin_sources_of(name: str, fields: Iterable[str]) -> dict[str, str]:
    """Where each of a plugin's settings has its value from: a variable's name, `hookline.toml` or `default`."""
    table, prefix = _plugin_table(name), variable_prefix_of(name)
    return {field: _variable_of(field, prefix) or (SETTINGS_FILE if field in table else DEFAULT) for field in fields}


def file_name_of(field: str) -> str:
    """What the file calls a field of `Settings`."""
    return _FILE_NAMES.get(field, field)


def variable_prefix_of(plugin: str) -> str:
    """What the names of the variables for a plugin's settings begin with."""
    return f"{ENVIRONMENT_PREFIX}PLUGIN_{plugin.upper().replace('-', '_')}__"


def plugin_tables() -> dict[str, dict[str, Any]]:
    """The tables `[plugins.NAME]` of the file, by the plugins' names.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    tables = _read_file().get("plugins", {})
    return dict(tables) if isinstance(tables, dict) else {}


def _read_file() -> dict[str, Any]:
    path = Path(SETTINGS_FILE)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _core_table(settings_cls: type[BaseSettings]) -> dict[str, Any]:
    """The file's top level, as fields."""
    table = _read_file()
    tables = table.pop("plugins", {})
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise ConfigurationError(
            f"{SETTINGS_FILE}: plugins holds the tables [plugins.NAME] of the plugins' own settings; the list of "
            f"allowed plugins is allow_plugins = [...]"
        )
    fields = {file_name_of(field): field for field in settings_cls.model_fields}
    if unknown := sorted(set(table) - set(fields)):
        raise _unknown_key(unknown[0], SETTINGS_FILE, list(fields))
    _refuse_plain_keys(table.get("api_keys"))
    return {fields[key]: value for key, value in table.items()}


def _refuse_plain_keys(keys: object) -> None:
    """Files are committed, copied and shown: a key in one is only to be recognised, not to be read."""
    for key in keys if isinstance(keys, list) else [keys]:
        if isinstance(key, str) and not is_hash(key):
            raise ConfigurationError(
                f"{SETTINGS_FILE}: api_keys must hold hashes, not keys: write {hash_key(key)!r} instead"
            )


def _plugin_table(name: str) -> dict[str, Any]:
    table = plugin_tables().get(name, {})
    if not isinstance(table, dict):
        raise ConfigurationError(f"{SETTINGS_FILE}: plugins.{name} must be a table: [plugins.{name}]")
    return table


def _unknown_key(key: str, where: str, known: list[str]) -> ConfigurationError:
    near = get_close_matches(key, known, n=1)
    mend = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(sorted(known)) or 'none at all'}"
    return ConfigurationError(f"{where}: unknown key {key!r}; {mend}")


def _mistake(
    error: ValidationError,
    model: type[BaseSettings],
    given: Mapping[str, Any],
    prefix: str,
    file: str,
    *,
    show_value: bool,
) -> ConfigurationError:
    """The first mistake, in one line that tells where it was found."""
    first = error.errors(include_url=False, include_context=False)[0]
    path = [str(part) for part in first["loc"]]
    field = path[0] if path else model.__name__
    if first["type"] == "extra_forbidden":
        return _unknown_key(field, f"{model.__name__}()" if field in given else file, list(model.model_fields))
    variable = prefix + "__".join(path).upper()
    if first["type"] == "missing":
        return ConfigurationError(f"{'.'.join(path)} is not set: set {variable}, or {path[-1]} in {file}")
    value = f" = {first['input']!r}" if show_value and field not in _SECRET else ""
    return ConfigurationError(
        f"{_source(field, given, prefix, file)}{value}: {first['msg'].lower().removeprefix('value error, ')}"
    )


def _source(field: str, given: Mapping[str, Any], prefix: str, file: str) -> str:
    if field in given:
        return f"Settings({field}=...)"
    return _variable_of(field, prefix) or f"{file}: {file_name_of(field) if file == SETTINGS_FILE else field}"


def _variable_of(field: str, prefix: str) -> str | None:
    """The variable that sets a field, or a part of it; an empty one sets nothing."""
    start = (prefix + field).upper()
    for variable, value in os.environ.items():
        if value and (variable.upper() == start or variable.upper().startswith(f"{start}__")):
            return variable
    return None
