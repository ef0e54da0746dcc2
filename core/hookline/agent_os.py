"""AgentOS: agents, their one ledger and their plugins (see `definition`), served together (see `execution.runtime`)."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

from hookline.agent import Agent
from hookline.authentication import check_exposure
from hookline.clock import SYSTEM_CLOCK, Clock
from hookline.definition import Definition
from hookline.errors import ConfigurationError, ServerBusyError, StorageError
from hookline.execution.gates import HookState
from hookline.execution.limits import Limits
from hookline.execution.live_run import LiveRun, RunRequest
from hookline.execution.points import read_points
from hookline.execution.runtime import Runtime
from hookline.models import Model
from hookline.runnable import Runnable
from hookline.storage import Database, ReplayRecord, ReplayStatus, Storage

if TYPE_CHECKING:
    from hookline.settings import Settings


class AgentOS(Definition):
    """Serves agents over a transport, with one ledger.

    Making one validates; `load()` and `get_app()` load the plugins; only the lifespan touches the database.

    Args:
        id: what it is called; default: the slug of `name`, or `agent-os`.
        name: what people call it.
        agents: what is served.
        db: the ledger; default: the one database that the agents name, else the settings' (`hookline.db`).
        pre_hooks: called before each run of every agent.
        post_hooks: called after each run of every agent.
        run_hooks_in_background: whether all hooks but guardrails, and but those marked
            `@hook(run_in_background=False)`, are durable deliveries after the response.
        plugins: plugin objects or modules, besides the installed ones.
        settings: default: read from the environment and `hookline.toml`.
        clock: tells what is due; tests give one that they move (`hookline.testing.ManualClock`).
        base_app: an application of yours that `get_app()` adds the API to, instead of making a new one.

    Raises:
        ConfigurationError: two agents of one id, two different databases, nothing to serve.
    """

    def __init__(
        self,
        id: str | None = None,
        *,
        name: str | None = None,
        agents: Sequence[Agent] | None = None,
        db: Database | None = None,
        pre_hooks: Sequence[Callable[..., Any]] | None = None,
        post_hooks: Sequence[Callable[..., Any]] | None = None,
        run_hooks_in_background: bool = False,
        plugins: Sequence[object] | None = None,
        settings: Settings | None = None,
        clock: Clock = SYSTEM_CLOCK,
        base_app: Any = None,
    ) -> None:
        super().__init__(
            id,
            name=name,
            agents=agents,
            db=db,
            pre_hooks=pre_hooks,
            post_hooks=post_hooks,
            run_hooks_in_background=run_hooks_in_background,
            plugins=plugins,
            settings=settings,
            clock=clock,
        )
        self.base_app = base_app
        self._app: Any = None
        self._runtime: Runtime | None = None
        self._shutting_down = False
        self._ends_at = 0.0
        self._left_behind = 0

    # serving

    def get_app(self) -> Any:
        """The application of the transport that the settings name (FastAPI by default); `base_app`, if there is one.

        Raises:
            ConfigurationError: with the culprit's name and the mend.
        """
        self.load()
        if self._app is None:
            self._app = self._transport.create_app(self)
        return self._app

    def serve(
        self,
        app: Any | str,
        *,
        host: str = "127.0.0.1",
        port: int = 7777,
        reload: bool = False,
        insecure: bool = False,
        root_path: str = "",
    ) -> None:
        """Serve until a signal; blocks.

        Args:
            app: what `get_app()` gave, the app that it is mounted in, or where one of them is found: `"module:app"`;
                `reload` needs the latter.
            host: the address to bind; anything but loopback needs authentication (`api_keys`, or a plugin that
                implements `authenticate`), or `insecure=True`.
            port: the port to bind.
            reload: start anew whenever a source file changes.
            insecure: bind to an address that others can reach, although nobody is asked who they are.
            root_path: the prefix that a proxy in front takes off the path of each request, such as `/ai`.

        Raises:
            SystemExit: something is wrong with the definition, the settings, the app or the address, or the address
                is not loopback and there is no authentication; the message is one line, the exit status 1.
        """
        try:
            self.load()
            check_exposure(self, host, insecure=insecure)
            self._transport.serve(self, app, host=host, port=port, reload=reload, root_path=root_path)
        except ConfigurationError as error:
            raise SystemExit(f"hookline: {' '.join(str(error).split())}") from None

    async def __call__(self, scope: Mapping[str, Any], receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        """What a server that is given this object for an app is told: serve `agent_os.get_app()`.

        Raises:
            ConfigurationError: for a request; the startup of a server fails with the same words.
        """
        mend = f"AgentOS {self.id!r} is no app itself: add app = agent_os.get_app() and serve that, such as module:app"
        if scope["type"] != "lifespan":
            raise ConfigurationError(mend)
        await receive()
        await send({"type": "lifespan.startup.failed", "message": mend})

    @asynccontextmanager
    async def lifespan(self, app: Any = None) -> AsyncIterator[None]:
        """Open the database, start deliveries and the plugins' lifespans; at the end drain and close.

        Args:
            app: the application that is served; not used, there so that a framework can take this as its lifespan.

        Raises:
            StorageError: the database cannot be opened.
            ConfigurationError: the lifespan is running already.
        """
        self.load()
        if self._runtime is not None:
            raise ConfigurationError(f"the lifespan of AgentOS {self.id!r} is running already")
        self._shutting_down = False
        self._warn_of_unknown_settings()
        async with AsyncExitStack() as stack:
            self._runtime = runtime = await Runtime.open(
                self.database,
                runnables=self.runnables,
                plans=self._plans,
                points=read_points(self.registry.implementations, timeout=self.settings.inline_timeout),
                limits=Limits.from_settings(self.settings),
                clock=self.clock,
            )
            stack.push_async_callback(self._close, runtime)
            for _, context in self.registry.lifespans(self):
                await stack.enter_async_context(context)
            yield

    async def _close(self, runtime: Runtime) -> None:
        self.begin_shutdown()
        try:
            await runtime.close(max(0.0, self._ends_at - time.monotonic()))
        finally:
            self._left_behind = runtime.abandoned
            self._runtime = None

    # for tests

    @contextmanager
    def replaced(
        self,
        *,
        db: Database,
        clock: Clock | None = None,
        model: Model | None = None,
        plugins: Sequence[object] = (),
    ) -> Iterator[AgentOS]:
        """Stand on another ledger for a while, as a test needs it; afterwards it and its agents are as they were.

        It stays the same object, so that apps and hooks that know it know the replaced one. Settings, plugins and
        models' names are read anew meanwhile.

        Args:
            db: the ledger, whatever it or its agents name.
            clock: tells what is due; default: as before.
            model: what all agents ask; default: their own models.
            plugins: further plugins.

        Raises:
            ConfigurationError: its lifespan is running.
        """
        if self._runtime is not None:
            raise ConfigurationError(f"the lifespan of AgentOS {self.id!r} is running: it cannot be replaced meanwhile")
        if self.base_app is not None:
            self.get_app()  # for good: a second time, that app would get the same routes again
        with self._redefined(db=db, clock=clock, model=model, plugins=plugins):
            yield self

    # while it is served

    @property
    def _open(self) -> Runtime:
        if self._runtime is None:
            raise ConfigurationError(
                f"the lifespan of AgentOS {self.id!r} is not running: give the app that it is mounted in "
                f"lifespan=agent_os.lifespan, or add to its own: async with agent_os.lifespan(app): yield"
            )
        return self._runtime

    @property
    def is_open(self) -> bool:
        """Whether the lifespan is running."""
        return self._runtime is not None

    @property
    def storage(self) -> Storage:
        """The ledger, opened.

        Raises:
            ConfigurationError: the lifespan is not running; the message names the line to add.
        """
        return self._open.storage

    @property
    def live_runs(self) -> Mapping[str, LiveRun]:
        """The runs of this process that have not ended, by their id."""
        return self._open.engine.live

    @property
    def abandoned(self) -> int:
        """Hooks and tools that did not end after their time limit, and still have not; kept after the lifespan."""
        return self._runtime.abandoned if self._runtime is not None else self._left_behind

    def start_run(
        self,
        runnable: Runnable,
        message: str,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        session_state: Mapping[str, Any] | None = None,
        stream: bool = False,
        own_session: bool = False,
    ) -> LiveRun:
        """Start a run on the serving event loop; its deliveries start once `LiveRun.hand_over()` is called.

        With `own_session`, a session that is not `user_id`'s is refused: `LiveRun.finished()` raises
        `SessionNotFoundError`, and nothing is stored.

        Raises:
            ServerBusyError: too many runs at once, too many deliveries not done, or the server is shutting down.
            ConfigurationError: the lifespan is not running.
        """
        runtime = self._open
        if self._shutting_down:
            raise ServerBusyError("the server is shutting down")
        runtime.admission.check()
        request = RunRequest(
            runnable,
            message,
            session_id=session_id,
            user_id=user_id,
            metadata=dict(metadata) if metadata else None,
            dependencies=dict(dependencies) if dependencies else None,
            session_state=dict(session_state) if session_state else None,
            stream=stream,
            own_session=own_session,
        )
        return runtime.start_run(request)

    def begin_shutdown(self) -> None:
        """From now on this server is not ready and takes no new run; those under way have `shutdown_timeout` left."""
        if not self._shutting_down:
            self._shutting_down = True
            self._ends_at = time.monotonic() + self.settings.shutdown_timeout

    def wake_deliveries(self) -> None:
        """Something became due in the ledger (a redriven delivery): look now."""
        self._open.deliverer.wake()

    async def start_replay(self, replay: ReplayRecord) -> ReplayRecord:
        """Store a replay; from now on its deliveries are made, here or by another server of the ledger."""
        stored = await self.storage.create_replay(replay)
        self._open.replayer.wake()
        return stored

    async def set_replay_status(self, replay_id: str, status: ReplayStatus) -> ReplayRecord | None:
        """Pause, resume (`running`) or cancel a replay; None if it is unknown or has ended."""
        changed = await self.storage.set_replay_status(replay_id, status, self.clock.time())
        self._open.replayer.wake()
        self._open.deliverer.wake()
        return changed

    async def readiness(self) -> list[str]:
        """Why this server is not ready for runs; empty if it is."""
        if self._runtime is None:
            return ["the lifespan is not running"]
        if self._shutting_down:
            return ["shutting down"]
        try:
            await self._runtime.storage.check()
        except StorageError as error:
            return [f"storage: {error}"]
        return []

    def details(self) -> dict[str, Any]:
        """How this server fares, as plain data: its runs, deliveries, paused hooks and what never ended.

        Raises:
            ConfigurationError: the lifespan is not running.
        """
        return self._open.details()

    @property
    def hook_states(self) -> list[HookState]:
        """What holds for each background hook in this process: its circuit, its attempts under way.

        Raises:
            ConfigurationError: the lifespan is not running.
        """
        return self._open.hook_states

    async def drain(self) -> None:
        """Wait until no run is under way and no delivery that is due is left.

        Backoffs, delays and hooks that are paused are not waited for.

        Raises:
            ConfigurationError: the lifespan is not running.
        """
        await self._open.drain()
