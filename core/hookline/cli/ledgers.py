"""The ledger that a command works on: that of an app, a file, or the one of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from hookline.cli.group import load_registry
from hookline.cli.ledger_file import file_of
from hookline.cli.loading import app_option, find_app
from hookline.errors import ConfigurationError
from hookline.storage import Database, Storage

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def ledger_options(command: F) -> F:
    """`--app` and `--db`."""
    return app_option(
        click.option("--db", "database", metavar="FILE", help="The ledger itself: its file, or its URL.")(command)
    )


def find_ledger(reference: str | None, database: str | None) -> Database:
    """The ledger that the options name.

    Raises:
        ConfigurationError: there is none; it is not made.
    """
    if database is not None and given_on_command_line("reference"):
        raise click.UsageError("give one of --app and --db")
    if database is None and reference is not None:
        ledger = find_app(reference).agent_os.load().database
        if not is_there(ledger):
            raise ConfigurationError(
                f"there is no ledger {file_of(ledger)}, which {reference} names: is this the directory it is served in?"
            )
        return ledger
    return _named_ledger(database)


def is_there(ledger: Database) -> bool:
    """Whether a ledger exists, as far as that can be told without opening it, which would make it."""
    file = file_of(ledger)
    return file is None or file.is_file()


def ask(ledger: Database, act: Callable[[Storage], Awaitable[T]]) -> T:
    """Open the ledger, do one thing with it, and close it."""

    async def run() -> T:
        storage = await asyncio.to_thread(ledger.open)
        try:
            return await act(storage)
        finally:
            await storage.close()

    return asyncio.run(run())


def given_on_command_line(parameter: str) -> bool:
    """Whether a parameter of the present command was typed, and is not from the environment or a default."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


def _named_ledger(database: str | None) -> Database:
    from hookline.settings import load_settings  # pydantic-settings costs more than all of the core

    settings = load_settings()
    name = database or settings.database
    ledger = load_registry().storage(settings.storage)(name)
    if not is_there(ledger):
        mend = "" if database else "; name another one with --db FILE or --app module:agent_os"
        raise ConfigurationError(f"there is no ledger {name}{mend}")
    return ledger
