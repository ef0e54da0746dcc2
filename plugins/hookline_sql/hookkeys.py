"""Which hooks have deliveries of a kind, found by one step for each hook through an index that begins with its key."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, select

from hookline.deliveries import HookKey
from hookline_sql.statements import Prepared


class HookKeys:
    """The hooks that have rows under a condition; it must be that of an index over `runnable_id, phase, hook`."""

    def __init__(self, deliveries: Table, condition: ColumnElement[bool]) -> None:
        runnable, phase, hook = deliveries.c.runnable_id, deliveries.c.phase, deliveries.c.hook
        keys = select(runnable, phase, hook).where(condition).order_by(runnable, phase, hook).limit(1)
        same_runnable, same_phase = runnable == bindparam("runnable"), phase == bindparam("phase")
        # Not one comparison of all three columns: SQLite would step over every row of the hook that was found last.
        self._next_hook = Prepared(keys.where(same_runnable, same_phase, hook > bindparam("hook")))
        self._next_phase = Prepared(keys.where(same_runnable, phase > bindparam("phase")))
        self._next_runnable = Prepared(keys.where(runnable > bindparam("runnable")))

    def all(self, connection: Connection) -> list[HookKey]:
        """Every hook, in order."""
        keys: list[HookKey] = []
        params = {"runnable": "", "phase": "", "hook": ""}
        while row := self._following(connection, params):
            keys.append(HookKey(*row))
            params = key_params(keys[-1])
        return keys

    def _following(self, connection: Connection, params: dict[str, str]) -> tuple[Any, ...] | None:
        return (
            self._next_hook.row(connection, params)
            or self._next_phase.row(connection, params)
            or self._next_runnable.row(connection, params)
        )


def is_hook(deliveries: Table) -> ColumnElement[bool]:
    """That a row is of the hook that `key_params` gives."""
    return (
        (deliveries.c.runnable_id == bindparam("runnable"))
        & (deliveries.c.phase == bindparam("phase"))
        & (deliveries.c.hook == bindparam("hook"))
    )


def key_params(key: HookKey) -> dict[str, str]:
    """The parameters of `is_hook`."""
    return {"runnable": key.runnable, "phase": key.phase, "hook": key.hook}
