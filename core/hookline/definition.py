"""What an AgentOS is made of: its runnables and its one ledger, checked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hookline.errors import ConfigurationError
from hookline.runnable import Runnable
from hookline.storage import Database


def runnables_by_key(runnables: Sequence[Runnable]) -> dict[tuple[str, str], Runnable]:
    """What is served, by kind and id.

    Raises:
        ConfigurationError: there is nothing, something that is no runnable, or two of one id.
    """
    if not isinstance(runnables, Sequence):
        raise ConfigurationError(f"AgentOS: agents must be a list, not {runnables!r}")
    found: dict[tuple[str, str], Runnable] = {}
    for runnable in runnables:
        if not isinstance(runnable, Runnable):
            raise ConfigurationError(f"AgentOS: {runnable!r} is no agent")
        key = (runnable.kind, runnable.id)
        if key in found:
            raise ConfigurationError(
                f"AgentOS: two {runnable.kind}s have the id {runnable.id!r}: give one of them another id"
            )
        found[key] = runnable
    if not found:
        raise ConfigurationError("AgentOS: there is nothing to serve: give it agents=[...]")
    return found


def one_database(db: Database | None, runnables: Iterable[Runnable]) -> Database | None:
    """The one ledger that an AgentOS and its runnables name; None if they name none.

    Raises:
        ConfigurationError: they name two, or what is none.
    """
    named = {each.db.url: (each.db, f"{each.kind} {each.id!r}") for each in runnables if each.db is not None}
    if db is not None:
        if not isinstance(db, Database):
            raise ConfigurationError(f"AgentOS: db={db!r} is no database; SqliteDb(db_file=...) is one")
        named = {db.url: (db, "AgentOS"), **{url: one for url, one in named.items() if url != db.url}}
    if len(named) > 1:
        listing = ", ".join(f"{url} ({whose})" for url, (_, whose) in named.items())
        raise ConfigurationError(f"AgentOS has one ledger, but {len(named)} databases are named: {listing}; keep one")
    return next((one for one, _ in named.values()), None)
