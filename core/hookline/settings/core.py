"""The settings of an AgentOS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from hookline.api_keys import hash_key, is_hash, read_key
from hookline.environment import ENVIRONMENT_PREFIX
from hookline.errors import ConfigurationError
from hookline.overrides import HookOverrides
from hookline.retention import Retention
from hookline.settings.file import SETTINGS_FILE, read_file
from hookline.settings.hooks import HookSources
from hookline.settings.mistakes import DEFAULT, IN_CODE, first_mistake, not_json, unknown_key, variable_of

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
        delivery_retries: attempts after the first one, for a background hook that does not say; so the next four.
        delivery_backoff: seconds to wait at most after the first failed attempt; doubled after each further one.
        delivery_max_age: seconds after which a delivery that has not succeeded is given up; None: never.
        circuit_threshold: after so many failed attempts in a row a hook's deliveries are paused; 0: never.
        circuit_cooldown: seconds that they are paused.
        max_waiting_deliveries: while so many deliveries are not done, new runs are turned away (429).
        max_abandoned_threads: while so many threads of one kind (inline hooks, tools, deliveries) are held by sync
            calls that never ended, no further call of that kind begins.
        max_interruptions: how many processes may die in a delivery before it is dead.
        retention_days: days that delivered and discarded deliveries are kept.
        dead_retention_days: days that dead deliveries are kept; default: for ever.
        run_retention_days: days that finished runs are kept, and their sessions; default: for ever.
        store_rejected_input: whether the text of a rejected input is kept.
        cancel_on_disconnect: whether a client that leaves ends its run.
        sse_ping: seconds between the heartbeats of a stream.
        disable_plugins: plugins that are not imported.
        plugins: if given, the only installed plugins that are imported (`allow_plugins` in the file).
        required_plugins: plugins without which nothing starts.
        strict_plugins: whether any plugin that cannot be used stops the start.
        hooks: what holds for single hooks, over their marks: tables by the hooks' keys (`RUNNABLE/post/NAME`, or
            `*/post/NAME` for every runnable), each with some of `timeout`, `retries`, `backoff`, `max_age`,
            `concurrency`, `circuit_threshold`, `circuit_cooldown`, `sample`, `run_in_background` and `on_error`, as
            `hookline.hook()` has them, and a guardrail's `mode`. In the environment JSON text. What code, the
            environment and the file say of one hook adds up.

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
    delivery_backoff: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    delivery_max_age: Seconds | None = None
    circuit_threshold: Annotated[int, Field(ge=0)] = 20
    circuit_cooldown: Seconds = 60.0
    max_waiting_deliveries: Count = 100_000
    max_abandoned_threads: Count = 64
    max_interruptions: Count = 3
    retention_days: Seconds = 30.0
    dead_retention_days: Seconds | None = None
    run_retention_days: Seconds | None = None
    store_rejected_input: bool = False
    cancel_on_disconnect: bool = False
    sse_ping: Seconds = 15.0
    disable_plugins: Names = []
    plugins: Names | None = None
    required_plugins: Names = []
    strict_plugins: bool = False
    hooks: dict[str, dict[str, Any]] = {}

    _given: frozenset[str] = PrivateAttr(default=frozenset())
    _hook_sources: HookSources | None = PrivateAttr(default=None)
    _hook_overrides: HookOverrides = PrivateAttr(default_factory=HookOverrides)

    if not TYPE_CHECKING:  # type checkers keep the fields as keywords

        def __init__(self, **values: Any) -> None:
            try:
                super().__init__(**values)
            except ValidationError as error:
                raise first_mistake(
                    error,
                    type(self),
                    values,
                    ENVIRONMENT_PREFIX,
                    SETTINGS_FILE,
                    file_names=_FILE_NAMES,
                    secret=_SECRET,
                ) from None
            except SettingsError as error:
                raise not_json(error, ENVIRONMENT_PREFIX) from None
            self._given = frozenset(values)
            if self.hooks:
                self._hook_sources = HookSources(values.get("hooks"), ENVIRONMENT_PREFIX)
                self._hook_overrides = HookOverrides(self.hooks, self._hook_sources.place_of)

    @property
    def retention(self) -> Retention:
        """How long the ledger keeps what is finished."""
        return Retention(self.retention_days, self.dead_retention_days, self.run_retention_days)

    @property
    def given(self) -> frozenset[str]:
        """The names of the fields that were given in code."""
        return self._given

    @property
    def hook_overrides(self) -> HookOverrides:
        """What `hooks` says, checked as far as it can be without the hooks."""
        return self._hook_overrides

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


def sources_of(settings: Settings) -> dict[str, str]:
    """Where each setting has its value from, by the name that the file has for it.

    `code`, the name of a variable, `hookline.toml` or `default`: the same precedence as when they were read.
    """
    table = _core_table(type(settings))
    found: dict[str, str] = {}
    for field in type(settings).model_fields:
        variable = None if field in settings.given else variable_of(field, ENVIRONMENT_PREFIX)
        from_file = SETTINGS_FILE if field in table else DEFAULT
        found[file_name_of(field)] = IN_CODE if field in settings.given else variable or from_file
    return found


def hook_sources_of(settings: Settings) -> dict[tuple[str, str], str]:
    """Where each option of each table in `hooks` is from, by the hook's key and the option: as `sources_of`."""
    sources = settings._hook_sources
    if sources is None:
        return {}
    return {(key, option): sources.source_of(key, option) for key, table in settings.hooks.items() for option in table}


def file_name_of(field: str) -> str:
    """What the file calls a field of `Settings`."""
    return _FILE_NAMES.get(field, field)


def _core_table(settings_cls: type[BaseSettings]) -> dict[str, Any]:
    """The file's top level, as fields."""
    table = read_file()
    tables = table.pop("plugins", {})
    if not isinstance(tables, dict) or not all(isinstance(each, dict) for each in tables.values()):
        raise ConfigurationError(
            f"{SETTINGS_FILE}: plugins holds the tables [plugins.NAME] of the plugins' own settings; the list of "
            f"allowed plugins is allow_plugins = [...]"
        )
    fields = {file_name_of(field): field for field in settings_cls.model_fields}
    if unknown := sorted(set(table) - set(fields)):
        raise unknown_key(unknown[0], SETTINGS_FILE, list(fields))
    _refuse_plain_keys(table.get("api_keys"))
    return {fields[key]: value for key, value in table.items()}


def _refuse_plain_keys(keys: object) -> None:
    """Files are committed, copied and shown: a key in one is only to be recognised, not to be read."""
    for key in keys if isinstance(keys, list) else [keys]:
        if isinstance(key, str) and not is_hash(key):
            raise ConfigurationError(
                f"{SETTINGS_FILE}: api_keys must hold hashes, not keys: write {hash_key(key)!r} instead"
            )
