"""The server: uvicorn, with a shutdown that waits for what must be waited for, and for nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.importer import ImportFromStringError, import_from_string
from uvicorn.supervisors import ChangeReload

from hookline import AgentOS, ConfigurationError, HooklineError
from hookline_fastapi.protocol import with_problems
from hookline_fastapi.settings import read_settings

logger = logging.getLogger("uvicorn.error")

GRACE_SECONDS = 5.0
"""How long after `shutdown_timeout` the process may still take to end by itself."""

TEARDOWN_SECONDS = 2.0
"""How long the event loop may take to close once everything is stored and closed."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def serve(agent_os: AgentOS, app: Any | str, *, host: str, port: int, reload: bool, root_path: str = "") -> None:
    """Serve an app until a signal ends the server.

    The first SIGINT or SIGTERM lets runs and streams finish and deliveries drain, together for at most the setting
    `shutdown_timeout`; a second one ends the process at once.

    Args:
        agent_os: what the app serves.
        app: an ASGI app, or its import string `module:app`, which `reload` needs.
        host: the address to listen on.
        port: 0 takes a free one.
        reload: start anew in a fresh process whenever a Python file under the working directory changes.
        root_path: the prefix that a proxy takes off the paths.

    Raises:
        ConfigurationError: `reload` without an import string, or a root path that is none.
        SystemExit: the app cannot be imported, or the address cannot be had; its message is one line.
    """
    if reload and not isinstance(app, str):
        raise ConfigurationError('reload=True needs the app as an import string: serve(app="module:app", reload=True)')
    if root_path and not (root_path.startswith("/") and root_path.strip("/")):
        raise ConfigurationError(f"root_path={root_path!r} must be a path such as '/ai'")
    _write_lines_at_once()
    if isinstance(app, str) and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    config = HooklineConfig(
        app,
        host=host,
        port=port,
        reload=reload,
        lifespan="on",
        log_config=_log_config(),
        access_log=read_settings().access_log,
        root_path=root_path.rstrip("/"),
    )
    config.shutdown_timeout = agent_os.settings.shutdown_timeout
    if not reload:
        config.load_app()  # what is wrong with it is said before anything is opened
    sockets = bind(host, port)
    try:
        server = HooklineServer(config, None if reload else agent_os)
        if reload:
            ChangeReload(config, target=server.run, sockets=sockets).run()
        else:
            server.run(sockets)
    except SystemExit:  # the startup failed, and the log says why
        raise SystemExit(1) from None
    finally:
        for bound in sockets:
            bound.close()


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host` that this machine has, not listening yet.

    Raises:
        SystemExit: the address cannot be had; its message is one line.
    """
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE):
            try:
                sockets.append(_bind_one(family, (address[0], port, *address[2:])))
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                missing = error  # `localhost` names ::1 on machines without IPv6, too
            else:
                port = sockets[-1].getsockname()[1]
        if missing is not None and not sockets:
            raise missing
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise SystemExit(f"hookline: cannot listen on {host}:{port}: {error.strerror}; {_mend_of(error)}") from None
    return sockets


def _mend_of(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "choose a port above 1023: port=... in serve(), --port on the command line"
    if error.errno == errno.EADDRINUSE:
        return "choose another port: port=... in serve(), --port on the command line"
    return "choose another address: host=... in serve(), --host on the command line"


def _bind_one(family: int, address: tuple[Any, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY on no other
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        bound.set_inheritable(True)
    except OSError:
        bound.close()
        raise
    return bound


class HooklineConfig(uvicorn.Config):
    """uvicorn's configuration, for an app that holds an AgentOS."""

    shutdown_timeout = 30.0

    def load(self) -> None:
        """Load the app and the protocols; what the HTTP protocol itself refuses are problems, too."""
        super().load()
        self.http_protocol_class = with_problems(self.http_protocol_class)

    def load_app(self) -> Any:
        """Import the app; an import string may also name the AgentOS itself.

        Raises:
            SystemExit: it cannot be imported; the message is one line.
        """
        try:
            app = import_from_string(self.app)
            if isinstance(app, AgentOS):
                app = app.get_app()
        except (ImportFromStringError, ModuleNotFoundError, ConfigurationError) as error:
            raise SystemExit(f"hookline: cannot load the app {self.app!r}: {error}") from None
        if not callable(app):
            raise SystemExit(f"hookline: cannot load the app {self.app!r}: it is no ASGI app")
        return StartupErrors(app)

    def find_agent_os(self) -> AgentOS | None:
        """The AgentOS of the app, once it is loaded; None for an app that does not name one."""
        found = import_from_string(self.app)
        if not isinstance(found, AgentOS):
            found = getattr(getattr(found, "state", None), "agent_os", None)
        return found if isinstance(found, AgentOS) else None


class StartupErrors:
    """An app whose startup says in one line what the user can mend, instead of with a traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but the failure of the startup."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        failures: list[Message] = []

        async def hold_failure(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                failures.append(message)
            else:
                await send(message)

        try:
            await self._app(scope, receive, hold_failure)
        except HooklineError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
        except BaseException:
            for message in failures:
                await send(message)
            raise


class HooklineServer(uvicorn.Server):
    """A uvicorn server that tells the AgentOS when the end begins, and that always ends."""

    config: HooklineConfig

    def __init__(self, config: HooklineConfig, agent_os: AgentOS | None = None) -> None:
        super().__init__(config)
        self._signals: list[int] = []
        self._agent_os = agent_os
        self._last_resort: threading.Timer | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on sockets that are bound; in a reload child this is the process's whole work."""
        _write_lines_at_once()
        super().run(sockets)
        if self._last_resort is not None:
            self._last_resort.cancel()

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal; what cannot be ended then does not keep the process."""
        await super().serve(sockets)
        if threading.current_thread() is not threading.main_thread():
            return
        if self._agent_os is not None and self._agent_os.abandoned:
            _exit_now(0)
        # Tasks that swallow their cancellation, and threads of asyncio's own pool, would hold up the loop's end.
        self._last_resort = _start_timer(TEARDOWN_SECONDS, lambda: _exit_now(0))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then listen."""
        self._agent_os = self.config.find_agent_os() or self._agent_os
        await super().startup(sockets)
        for bound in sockets or ():
            host, port = bound.getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            logger.info("Uvicorn running on http://%s (Press CTRL+C to quit)", address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, let what is under way finish, then leave the lifespan, which drains deliveries."""
        if self._agent_os is not None:
            self._agent_os.begin_shutdown()
        timeout = self.config.shutdown_timeout
        # A run that takes too long is cancelled, so that its client still gets a proper answer.
        timer = asyncio.get_running_loop().call_later(timeout, self._cancel_runs)
        self.config.timeout_graceful_shutdown = math.ceil(timeout) + 1
        await super().shutdown(sockets)
        timer.cancel()

    def _cancel_runs(self) -> None:
        if self._agent_os is not None and self._agent_os.is_open:
            for run in list(self._agent_os.live_runs.values()):
                run.cancel()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs; a signal that ended it is not raised again: the exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End in an orderly way at the first signal, at once at the second."""
        # The terminal sends SIGINT to a reload child too, and its parent's SIGTERM follows: that is one wish.
        again = sig in self._signals if self.config.reload else bool(self._signals)
        self._signals.append(sig)
        if again:
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.should_exit = True
        if len(self._signals) == 1:
            _start_timer(self.config.shutdown_timeout + GRACE_SECONDS, self._give_up)

    def _give_up(self) -> None:
        logger.error("the shutdown did not end in %.0f s: the process ends now", self.config.shutdown_timeout)
        _exit_now(0 if self._agent_os is not None and self._agent_os.abandoned else 1)


def _start_timer(seconds: float, call: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()
    return timer


def _exit_now(code: int) -> None:
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _write_lines_at_once() -> None:
    """Let a line that a hook prints be seen when it is printed, in a pipe too."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)


def _log_config() -> dict[str, Any]:
    """The logging of uvicorn, with hookline's own loggers beside it."""
    config = dict(uvicorn.config.LOGGING_CONFIG)
    if not logging.getLogger("hookline").hasHandlers():  # otherwise the application has a logging of its own
        ours = {"handlers": ["default"], "level": "INFO", "propagate": False}
        config["loggers"] = {**config["loggers"], "hookline": ours}
    return config
