"""Browsers: what keeps other people's pages from using one to call this API.

A page in a browser on this machine reaches what listens on loopback. Where nobody is asked who they are, two things
must not work: a name of the page's own that is made to point here (DNS rebinding), which would let it read the
answers, and a form that is sent here from elsewhere (CSRF). Programs that are no browsers are not concerned.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Scope

from hookline.addresses import is_ip_address, is_loopback
from hookline_fastapi.problems import FOREIGN_HOST, FOREIGN_ORIGIN, Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

DEFAULT_PORTS = {"http": 80, "https": 443}


def check_host(scope: Scope, allowed: Collection[str]) -> None:
    """See that a request to a server on loopback names it by a name of this machine.

    A number is no name that could be made to point here. What listens elsewhere is open to others anyway.

    Args:
        scope: the request's.
        allowed: further names, without ports; `*` allows all.

    Raises:
        Problem: 403.
    """
    server = scope.get("server")
    if "*" in allowed or server is None or not is_loopback(server[0]):
        return
    for named in Headers(raw=scope["headers"]).getlist("host"):
        host = _host_of(named)
        if not (host.endswith(".localhost") or is_loopback(host) or is_ip_address(host) or host in allowed):
            mend = f"set HOOKLINE_PLUGIN_FASTAPI__ALLOWED_HOSTS='[\"{host}\"]', or authentication"
            raise Problem(FOREIGN_HOST, f"this server is not known as {host!r}; if it is yours, {mend}")


def check_origin(scope: Scope, apps: Iterable[Starlette]) -> None:
    """See that what changes something is not sent by a page of another origin.

    Browsers say where a request comes from, in `Sec-Fetch-Site` where they can, else in `Origin`. What shows an
    `Authorization` header was sent on purpose: no browser adds a token by itself.

    Args:
        scope: the request's.
        apps: whose CORS middleware says which origins may call.

    Raises:
        Problem: 403.
    """
    if scope["method"] in SAFE_METHODS:
        return
    headers = Headers(raw=scope["headers"])
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if (site or origin) is None or site in ("same-origin", "none") or "authorization" in headers:
        return
    if origin is None:
        raise Problem(FOREIGN_ORIGIN, "a page of another site may not do this")
    if not (_is_allowed(origin, apps) or (site is None and _is_of_host(origin, headers.get("host", "")))):
        mend = f"set HOOKLINE_PLUGIN_FASTAPI__CORS_ORIGINS='[\"{origin}\"]'"
        raise Problem(FOREIGN_ORIGIN, f"a page of {origin!r} may not do this; if it is yours, {mend}")


def _is_allowed(origin: str, apps: Iterable[Starlette]) -> bool:
    for app in apps:
        for middleware in app.user_middleware:
            make: Any = middleware.cls
            if _is_cors(make) and make(app, *middleware.args, **middleware.kwargs).is_allowed_origin(origin):
                return True
    return False


def _is_cors(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, CORSMiddleware)


def _host_of(named: str) -> str:
    """What a `Host` header names, in lower case, without the port and the brackets around an IPv6 address."""
    host = named.rpartition("]")[0].lstrip("[") if named.startswith("[") else named.partition(":")[0]
    return host.lower().rstrip(".")


def _is_of_host(origin: str, host: str) -> bool:
    """Whether an origin is that of the server itself; its scheme may be that of a proxy in front."""
    try:
        page = urlsplit(origin)
        here = urlsplit(f"{page.scheme}://{host}")
        default = DEFAULT_PORTS.get(page.scheme)
        return bool(page.hostname) and (page.hostname, page.port or default) == (here.hostname, here.port or default)
    except ValueError:
        return False
