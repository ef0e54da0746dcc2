"""Access: who may call a route, and what they may see there.

Every route of the API names its `Access`. Where nothing authenticates (on loopback), everybody may do everything.
"""

from __future__ import annotations

from enum import Enum
from typing import cast

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.types import Scope

from hookline import AgentOS, AuthenticationError, HookError, Principal, Storage
from hookline.authentication import Authenticator
from hookline_fastapi.browsers import check_host, check_origin
from hookline_fastapi.problems import AUTHENTICATION_UNAVAILABLE, FORBIDDEN, UNAUTHENTICATED, Problem, not_found
from hookline_fastapi.settings import read_settings

PRINCIPAL = "hookline.principal"
"""Where a request's scope keeps who is asking."""

EVERYBODY = Principal(None, {"admin"})
"""Who asks where nothing authenticates."""


class Access(Enum):
    """Who may call a route.

    `OPEN`: everybody. `PROBE`: everybody, but only admins get details. `KNOWN`: who is known, and sees what is
    theirs. `ADMIN`: who has the scope `admin`.
    """

    OPEN = "open"
    PROBE = "probe"
    KNOWN = "known"
    ADMIN = "admin"


class Gate:
    """Lets requests in, and says who is asking.

    Args:
        agent_os: what they want to get to; it is loaded.

    Attributes:
        is_closed: whether anything authenticates.
        apps: the apps whose CORS middleware says which origins' pages may call.
    """

    def __init__(self, agent_os: AgentOS) -> None:
        self._agent_os = agent_os
        self._authenticator = Authenticator.of(agent_os)
        self._settings = read_settings()
        self.is_closed = self._authenticator.is_required
        self.apps: list[Starlette] = []

    async def admit(self, scope: Scope, access: Access) -> None:
        """Note in the scope who is asking.

        Raises:
            Problem: 401, 403 or 503: they must not get in.
            ConfigurationError: the lifespan is not running, and the route is more than a probe.
        """
        if access is Access.OPEN:
            scope[PRINCIPAL] = None
        elif access is Access.PROBE:
            scope[PRINCIPAL] = await self._identify_prober(scope) if self.is_closed else EVERYBODY
        else:
            scope[PRINCIPAL] = await self._admit_to_what_is_theirs(scope, access)
            _ = self._agent_os.storage  # raises unless the lifespan runs

    async def _admit_to_what_is_theirs(self, scope: Scope, access: Access) -> Principal:
        check_origin(scope, self.apps)
        if not self.is_closed:
            check_host(scope, self._settings.allowed_hosts)
            return EVERYBODY
        principal = await self._identify(scope)
        if access is Access.ADMIN and not principal.is_admin:
            raise Problem(FORBIDDEN, "this needs the scope 'admin'")
        return principal

    async def _identify_prober(self, scope: Scope) -> Principal | None:
        if "authorization" not in Headers(raw=scope["headers"]):
            return None  # who watches the server must not wait for what authenticates
        try:
            return await self._identify(scope)
        except Problem:
            return None

    async def _identify(self, scope: Scope) -> Principal:
        headers = Headers(raw=scope["headers"])
        if len(headers.getlist("authorization")) > 1:
            raise _unauthenticated("there is more than one Authorization header")
        principal = await self._authenticate(headers, scope)
        if principal is None:
            raise _unauthenticated("show who you are: Authorization: Bearer ...")
        return principal

    async def _authenticate(self, headers: Headers, scope: Scope) -> Principal | None:
        try:
            return await self._authenticator.authenticate(headers, scope["method"], _path_in_app(scope))
        except AuthenticationError as error:
            raise _unauthenticated(str(error) or "what you show is not valid") from None
        except HookError:  # it is logged
            detail = "nobody can be let in now; the server's log tells more"
            raise Problem(AUTHENTICATION_UNAVAILABLE, detail) from None


def _path_in_app(scope: Scope) -> str:
    """A request's path as the API's document has it, wherever the app is mounted."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    return path.removeprefix(root) if path.startswith(f"{root}/") else path


def _unauthenticated(detail: str) -> Problem:
    return Problem(UNAUTHENTICATED, detail, headers={"www-authenticate": "Bearer"})


def caller_of(scope: Scope) -> Principal:
    """Who is asking, on a route that only somebody known gets to."""
    principal = scope[PRINCIPAL]
    assert isinstance(principal, Principal)  # noqa: S101 - the gate has seen to it
    return principal


async def check_session(storage: Storage, principal: Principal, session_id: str | None) -> None:
    """See that a session, if there is one of that name, may be gone on with.

    Raises:
        Problem: 404: it is somebody else's.
    """
    if principal.is_admin or session_id is None:
        return
    session = await storage.get_session(session_id)
    if session is not None and not principal.may_see(session.user_id):
        raise not_found("session", session_id)


def is_admin(scope: Scope) -> bool:
    """Whether who is asking, if anybody, may have details."""
    principal = cast("Principal | None", scope[PRINCIPAL])
    return principal is not None and principal.is_admin
