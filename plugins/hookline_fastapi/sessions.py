"""Endpoints under `/sessions`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from hookline import AgentOS, Principal, Session
from hookline.ids import is_id
from hookline.jsontext import dumps
from hookline_fastapi.access import caller_of
from hookline_fastapi.problems import not_found
from hookline_fastapi.queries import PageQuery, SessionQuery, listing, page_of
from hookline_fastapi.responses import JsonText
from hookline_fastapi.runs import run_document


class Sessions:
    """Endpoints under `/sessions`."""

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os

    async def list_sessions(self, query: Annotated[SessionQuery, Query()], request: Request) -> Response:
        """Sessions, newest first; admins see everybody's."""
        principal, user_id = caller_of(request.scope), query.user_id
        if not principal.is_admin:
            if user_id not in (None, principal.user_id):
                return JsonText(listing([]))
            user_id = principal.user_id
        storage = self._agent_os.storage
        page = await page_of(storage.list_sessions(user_id=user_id, limit=query.limit, cursor=query.cursor))
        return JsonText(listing([dumps(session.to_dict()) for session in page.items], page.next_cursor))

    async def get_session(self, session_id: str, request: Request) -> Response:
        """One session with its state."""
        session = await self._find(session_id, caller_of(request.scope))
        return JsonText(dumps(session.to_dict()))

    async def list_session_runs(
        self, session_id: str, query: Annotated[PageQuery, Query()], request: Request
    ) -> Response:
        """The runs of a session, newest first."""
        principal = caller_of(request.scope)
        await self._find(session_id, principal)
        page = await page_of(self._agent_os.storage.list_runs(session_id, limit=query.limit, cursor=query.cursor))
        seen = [run_document(run) for run in page.items if principal.may_see(run.user_id)]
        return JsonText(listing(seen, page.next_cursor))

    async def _find(self, session_id: str, principal: Principal) -> Session:
        session = await self._agent_os.storage.get_session(session_id) if is_id(session_id) else None
        if session is None or not principal.may_see(session.user_id):
            raise not_found("session", session_id)
        return session
