"""Endpoints under `/replays`."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from hookline import AgentOS
from hookline.ids import is_id
from hookline.jsontext import dumps
from hookline.replays import PHASES, ReplayError, replay_document
from hookline.runs import FINISHED_STATUSES
from hookline.storage import ReplayRecord, ReplayStatus
from hookline_fastapi.fields import (
    FieldSpec,
    read_bool,
    read_instant,
    read_number,
    read_text,
    read_values,
    read_word,
)
from hookline_fastapi.problems import REPLAY_STATUS, FieldError, Problem, invalid, not_found
from hookline_fastapi.queries import ReplayQuery, listing, page_of
from hookline_fastapi.responses import JsonText

REPLAY_FIELDS = {
    "hook": FieldSpec(read_text, required=True),
    "phase": FieldSpec(read_word(*PHASES)),
    "runnable": FieldSpec(read_text),
    "status": FieldSpec(read_word(*sorted(FINISHED_STATUSES))),
    "since": FieldSpec(read_instant),
    "until": FieldSpec(read_instant),
    "max_per_second": FieldSpec(read_number(above=0, most=100_000)),
    "dry_run": FieldSpec(read_bool),
}


class Replays:
    """Replays: made, looked at, paused, resumed, cancelled."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def create_replay(self, request: Request) -> Response:
        """Run a background hook over stored runs, as new deliveries; with `dry_run`, only count the runs (200)."""
        values = await read_values(request, REPLAY_FIELDS, self._agent_os.settings.max_body_size)
        try:
            planned = self._agent_os.plan_replay(
                values["hook"],
                phase=values["phase"] or "post",
                runnables=_list_of(values["runnable"]),
                statuses=_list_of(values["status"]),
                since=values["since"],
                until=values["until"],
                max_per_second=values["max_per_second"],
            )
        except ReplayError as error:
            raise invalid([FieldError(error.field, str(error))]) from None
        if values["dry_run"]:
            planned.matched = await self._agent_os.storage.count_replay(planned)
            document = await replay_document(self._agent_os.storage, planned)
            return JsonText(dumps({**document, "replay_id": None, "status": "planned"}))
        return await self._answer(await self._agent_os.start_replay(planned), 201)

    async def list_replays(self, query: Annotated[ReplayQuery, Query()]) -> Response:
        """Replays, newest first."""
        storage = self._agent_os.storage
        page = await page_of(storage.list_replays(status=query.status, limit=query.limit, cursor=query.cursor))
        items = [dumps(await replay_document(storage, replay)) for replay in page.items]
        return JsonText(listing(items, page.next_cursor))

    async def get_replay(self, replay_id: str) -> Response:
        """One replay, and what became of its deliveries."""
        return await self._answer(await self._find(replay_id), 200)

    async def pause_replay(self, replay_id: str, request: Request) -> Response:
        """Make no further deliveries for now."""
        return await self._set_status(replay_id, "paused", request)

    async def resume_replay(self, replay_id: str, request: Request) -> Response:
        """Go on where it was paused."""
        return await self._set_status(replay_id, "running", request)

    async def cancel_replay(self, replay_id: str, request: Request) -> Response:
        """Make no further deliveries, and discard those that were not begun."""
        return await self._set_status(replay_id, "cancelled", request)

    async def _set_status(self, replay_id: str, status: ReplayStatus, request: Request) -> Response:
        await read_values(request, {}, self._agent_os.settings.max_body_size)
        found = await self._find(replay_id)
        changed = await self._agent_os.set_replay_status(replay_id, status)
        if changed is None:
            raise Problem(REPLAY_STATUS, f"the replay {replay_id!r} is {found.status}: it has ended")
        return await self._answer(changed, 200)

    async def _find(self, replay_id: str) -> ReplayRecord:
        replay = await self._agent_os.storage.get_replay(replay_id) if is_id(replay_id) else None
        if replay is None:
            raise not_found("replay", replay_id)
        return replay

    async def _answer(self, replay: ReplayRecord, status: int) -> Response:
        return JsonText(dumps(await replay_document(self._agent_os.storage, replay)), status)


def _list_of(value: Any) -> list[str]:
    return [] if value is None else [value]
