"""The ledger that a command works on: that of an app, a file, or the one of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hookline.cli.group import load_registry
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
        ConfigurationError: there is none.
    """
    if database is not None and _given_on_command_line("reference"):
        raise click.UsageError("give one of --app and --db")
    if database is None and reference is not None:
        return find_app(reference).agent_os.load().database
    return _named_ledger(database)


def ask(ledger: Database, act: Callable[[Storage], Awaitable[T]]) -> T:
    """Open the ledger, do one thing with it, and close it."""

    async def run() -> T:
        storage = await asyncio.to_thread(ledger.open)
        try:
            return await act(storage)
        finally:
            await storage.close()

    return asyncio.run(run())


def _given_on_command_line(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


def _named_ledger(database: str | None) -> Database:
    from hookline.settings import load_settings  # pydantic-settings costs more than all of the core

    settings = load_settings()
    name = database or settings.database
    if ":" not in name and not Path(name).is_file():
        mend = "" if database else "; name another one with --db FILE or --app module:agent_os"
        raise ConfigurationError(f"there is no ledger {name}{mend}")
    return load_registry().storage(settings.storage)(name)
