"""Finding the AgentOS that a command is about: `module:attribute`, from the working directory."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click

from hookline.agent_os import AgentOS
from hookline.environment import APP_VARIABLE
from hookline.errors import ConfigurationError, HooklineError

F = TypeVar("F", bound=Callable[..., Any])

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = frozenset({"site-packages", "dist-packages"})


@dataclass(frozen=True, slots=True)
class FoundApp:
    """What `module:attribute` named; `app` is the application, where it was that and not the AgentOS itself."""

    agent_os: AgentOS
    app: Any = None


def check_reference(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Check that a reference has the form `module:attribute`; a callback for options and arguments.

    Raises:
        click.BadParameter: it has not.
    """
    if value is None:
        return None
    module, colon, attribute = value.partition(":")
    if "/" in module or module.endswith(".py"):
        name = module.removesuffix(".py").strip("./").replace("/", ".")
        raise click.BadParameter(f"{value!r} is a path: write {name}:{attribute or 'agent_os'}", param=parameter)
    if not (module and colon and attribute):
        raise click.BadParameter(
            f"{value!r} has not the form module:attribute, such as {module or 'app'}:agent_os", param=parameter
        )
    return value


def required_app(reference: str | None) -> str:
    """The reference, which the command cannot do without.

    Raises:
        click.UsageError: there is none.
    """
    if reference is None:
        raise click.UsageError(f"which AgentOS? Give --app module:agent_os, or set {APP_VARIABLE}")
    return reference


def find_app(reference: str) -> FoundApp:
    """Import what `module:attribute` names.

    Raises:
        ConfigurationError: it cannot be imported, or is no AgentOS.
    """
    directory = os.getcwd()
    if directory not in sys.path:
        sys.path.insert(0, directory)
    module_name, _, attribute = reference.partition(":")
    module = _import(module_name)
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigurationError(_missing(module, attribute))
        found = getattr(found, part)
    if isinstance(found, AgentOS):
        return FoundApp(found)
    agent_os = getattr(getattr(found, "state", None), "agent_os", None)
    if isinstance(agent_os, AgentOS):
        return FoundApp(agent_os, found)
    raise ConfigurationError(f"{reference} is {_described(found)}: name an AgentOS, or an app of agent_os.get_app()")


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except HooklineError as error:
        raise ConfigurationError(f"{_place(error)}{error}") from error
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigurationError(
                f"there is no module {error.name!r} in {os.getcwd()} or among the installed packages"
            ) from None
        raise ConfigurationError(f"{_place(error)}{error}: install it in this environment") from error
    except SystemExit as error:
        raise ConfigurationError(
            f"{_place(error)}{name} ends the process when it is imported ({error}): put what starts it under "
            f'if __name__ == "__main__"'
        ) from error
    except Exception as error:
        raise ConfigurationError(f"{_place(error)}{type(error).__name__}: {error}") from error


def _place(error: BaseException) -> str:
    """The line of the user's code at which it was raised: `app.py:12: `."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename)}:{error.lineno}: "
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(Path(frame.filename)):
            return f"{_relative(frame.filename)}:{frame.lineno}: "
    return ""


def _is_users(file: Path) -> bool:
    """Whether it is below the working directory, and no library's: an environment may be there, too."""
    is_library = file.is_relative_to(_PACKAGE) or _LIBRARIES.intersection(file.parts)
    return file.is_relative_to(os.getcwd()) and not is_library


def _relative(file: str) -> str:
    return os.path.relpath(file) if Path(file).is_relative_to(os.getcwd()) else file


def _missing(module: ModuleType, attribute: str) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, AgentOS)]
    near = names or get_close_matches(attribute, list(vars(module)), n=1)
    hint = f"; did you mean {module.__name__}:{near[0]}?" if near else ""
    return f"{module.__name__} has no attribute {attribute!r}{hint}"


def _described(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"of the class {type(value).__name__}"


def _block_plugins(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> None:
    names = []
    for value in values:
        word, colon, name = value.partition(":")
        if word != "no" or not (colon and name):
            raise click.BadParameter(f"{value!r} must be no:NAME", param=parameter)
        names.append(name)
    if names:  # the environment reaches the AgentOS before it is imported, and the processes of --reload
        before = os.environ.get("HOOKLINE_DISABLE_PLUGINS", "")
        os.environ["HOOKLINE_DISABLE_PLUGINS"] = ",".join([*filter(None, [before]), *names])


def plugins_option(command: F) -> F:
    """`-p no:NAME`: do not import a plugin; works through the environment of this process."""
    return click.option(
        "-p",
        "blocked",
        metavar="no:NAME",
        multiple=True,
        expose_value=False,
        is_eager=True,
        callback=_block_plugins,
        help="Do not import the plugin NAME; may be repeated.",
    )(command)


def app_option(command: F) -> F:
    """`--app module:attribute`, or the variable HOOKLINE_APP."""
    return click.option(
        "--app",
        "reference",
        metavar="MODULE:AGENT_OS",
        callback=check_reference,
        envvar=APP_VARIABLE,
        show_envvar=True,
        help="The AgentOS, such as app:agent_os.",
    )(command)
