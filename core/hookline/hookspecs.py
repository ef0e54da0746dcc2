"""The hook points of hookline: the first file that a plugin author reads.

A plugin is a module (or an object) with functions marked `@hookimpl`, named as one of the points below. An entry
point makes it known to every AgentOS of the environment that it is installed in:

    [project.entry-points.hookline]
    clock = "hookline_clock"

`AgentOS(plugins=[...])` takes one that is not installed. What holds for all points:

* **Arguments** go by name: take those you need, in any order. A name that the point does not offer is refused when
  the plugin is loaded, with the name that was meant.
* **Order** is that of `@hook(before=..., after=...)`, which name other plugins, and then that of the plugins' names.
  A plugin with several functions for one point marks them `@hookimpl(specname="pre_run")`.
* **Wrappers** (`@hookimpl(wrapper=True)`) are refused: hookline calls the functions one by one.
* The module must be cheap to import: heavy libraries belong into the functions that use them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import click

    from hookline.agent_os import AgentOS
    from hookline.deliveries import Delivery
    from hookline.events import RunEvent
    from hookline.messages import ToolCall
    from hookline.models import Model, ModelRequest, ModelResponse
    from hookline.principals import Principal
    from hookline.runnable import Runnable
    from hookline.runs import RunContext, RunInput, RunOutput
    from hookline.scheduling import Refuse, Schedule
    from hookline.sessions import Session
    from hookline.storage import Database
    from hookline.transport import Transport

hookspec = pluggy.HookspecMarker("hookline")
hookimpl = pluggy.HookimplMarker("hookline")


# Around a run


@hookspec
def pre_run(
    runnable: Runnable,
    run_input: RunInput,
    run_context: RunContext,
    session: Session,
    user_id: str | None,
    metadata: dict[str, Any],
    session_state: dict[str, Any],
    dependencies: dict[str, Any],
    debug_mode: bool,
    delivery: Delivery,
) -> Awaitable[None] | None:
    """Look at a run's input, change it, or reject it; sync (in a thread) or async.

    Called before the model is asked, once for each root run (`@hook(scope="all")`: for members' and steps' runs
    too; a `@guardrail` always is). With `@hook(run_in_background=True)` it is a durable delivery instead, which
    starts after the response and cannot change anything.

    Args:
        runnable: the agent, team or workflow; `runnable.kind`, `.id` and `.name` say which.
        run_input: the input; `run_input.input_content` may be assigned.
        run_context: ids, `session_state`, `dependencies` and `metadata` of the run.
        session: the conversation.
        user_id: who is asking, as far as that is known.
        metadata: the run's metadata.
        session_state: the conversation's state, to be changed in place.
        dependencies: what the caller gave along.
        debug_mode: whether the run was asked to tell more.
        delivery: the delivery that carries this call; inline, one that stands for it.

    Order: plugins come before the server's hooks and the runnable's own.

    Errors: `InputCheckError` rejects the run and skips all later hooks. Any other exception is recorded with the run,
    which goes on, unless the hook is a `@guardrail` or marked `@hook(on_error="fail")`: then the run fails.

    Example:
        ```python
        from hookline import InputCheckError, RunInput, guardrail, hookimpl


        @hookimpl
        @guardrail
        def pre_run(run_input: RunInput) -> None:
            if "password" in run_input.input_content.lower():
                raise InputCheckError("asks for a password", check_trigger="secrets")
        ```
    """


@hookspec
def post_run(
    runnable: Runnable,
    run_input: RunInput,
    run_context: RunContext,
    session: Session,
    user_id: str | None,
    metadata: dict[str, Any],
    session_state: dict[str, Any],
    dependencies: dict[str, Any],
    debug_mode: bool,
    run_output: RunOutput,
    delivery: Delivery,
) -> Awaitable[None] | None:
    """Look at a run's outcome, or reject its output; sync (in a thread) or async.

    Called when the model is done, for the outcomes that `@hook(on=(...))` names, `completed` by default. With
    `@hook(run_in_background=True)` it is a durable delivery: stored with the run, executed after the response at
    least once, with a time limit and retries.

    Args:
        runnable: the agent, team or workflow.
        run_input: the input, as the model got it.
        run_context: ids, `session_state`, `dependencies` and `metadata` of the run.
        session: the conversation.
        user_id: who was asking.
        metadata: the run's metadata.
        session_state: the conversation's state, to be changed in place (not in the background).
        dependencies: what the caller gave along.
        debug_mode: whether the run was asked to tell more.
        run_output: the run's outcome; final, but for guardrails, which come before the status is set.
        delivery: the delivery that carries this call, with its `attempt` and `idempotency_key`.

    Order: every guardrail first; then the runnable's own hooks, the server's, and the plugins'.

    Errors: `OutputCheckError` rejects the run and withholds its text. Any other exception is recorded with the run,
    which keeps its status, unless the hook is a `@guardrail` or marked `@hook(on_error="fail")`. In the background,
    an exception ends the attempt, and the next one follows after a pause.

    Example:
        ```python
        import logging

        from hookline import Delivery, RunOutput, hook, hookimpl


        @hookimpl
        @hook(run_in_background=True, timeout=20, retries=5)
        async def post_run(run_output: RunOutput, delivery: Delivery) -> None:
            logging.info("%s took %s s (attempt %s)", run_output.run_id, run_output.metrics.duration, delivery.attempt)
        ```
    """


@hookspec
def run_event(event: RunEvent, runnable: Runnable) -> None:
    """See every event of every run, as it is written; sync only.

    Called on the event loop, so it must return at once: put the event into a queue, count it, nothing more. Where no
    plugin implements it, it costs nothing.

    Args:
        event: the event; do not change it.
        runnable: whose run it belongs to.

    Order: as for all points.

    Errors: logged; the run, and the other plugins, never notice.

    Example:
        ```python
        from collections import Counter

        from hookline import hookimpl
        from hookline.events import RunEvent

        SEEN: Counter[str] = Counter()


        @hookimpl
        def run_event(event: RunEvent) -> None:
            SEEN[event.event] += 1
        ```
    """


@hookspec
def pre_model(runnable: Runnable, run_context: RunContext, request: ModelRequest) -> Awaitable[None] | None:
    """See, or change, what a model is about to be asked; sync (in a thread) or async.

    Called inline before each call of a model; a repetition by the model's own client calls nothing.

    Args:
        runnable: who asks.
        run_context: ids and `session_state` of the run.
        request: the request; its fields may be assigned.

    Order: as for all points.

    Errors: `InputCheckError` and `OutputCheckError` reject the run. Any other exception is recorded with the run,
    which goes on.

    Example:
        ```python
        from hookline import hookimpl
        from hookline.models import ModelRequest


        @hookimpl
        def pre_model(request: ModelRequest) -> None:
            request.options = {"temperature": 0.0, **request.options}
        ```
    """


@hookspec
def post_model(
    runnable: Runnable, run_context: RunContext, request: ModelRequest, response: ModelResponse
) -> Awaitable[None] | None:
    """See, or change, what a model has answered; sync (in a thread) or async.

    Called inline after each answer. In a stream, the answer's text may have left already.

    Args:
        runnable: who asked.
        run_context: ids and `session_state` of the run.
        request: what was asked.
        response: the answer; its fields may be assigned.

    Order: as for all points.

    Errors: `InputCheckError` and `OutputCheckError` reject the run. Any other exception is recorded with the run,
    which goes on.

    Example:
        ```python
        from hookline import OutputCheckError, hookimpl
        from hookline.models import ModelResponse


        @hookimpl
        async def post_model(response: ModelResponse) -> None:
            if response.usage.total_tokens > 100_000:
                raise OutputCheckError("one answer cost too much", check_trigger="budget")
        ```
    """


@hookspec
def pre_tool(runnable: Runnable, run_context: RunContext, tool_call: ToolCall) -> Awaitable[None] | None:
    """See, or change, a call of a tool before it is made; sync (in a thread) or async.

    Called inline for each call, also when several run side by side.

    Args:
        runnable: whose tool it is.
        run_context: ids and `session_state` of the run.
        tool_call: the call; `tool_call.arguments` is JSON text and may be assigned.

    Order: as for all points.

    Errors: `InputCheckError` and `OutputCheckError` reject the run, and the tool is not called. Any other exception is
    recorded with the run, which goes on.

    Example:
        ```python
        from hookline import OutputCheckError, hookimpl
        from hookline.messages import ToolCall


        @hookimpl
        def pre_tool(tool_call: ToolCall) -> None:
            if tool_call.name == "delete_everything":
                raise OutputCheckError("the model wants to delete everything", check_trigger="tools")
        ```
    """


@hookspec
def post_tool(
    runnable: Runnable,
    run_context: RunContext,
    tool_call: ToolCall,
    result: str | None,
    error: Exception | None,
) -> Awaitable[None] | None:
    """See what a tool came to; sync (in a thread) or async.

    Called inline after each call.

    Args:
        runnable: whose tool it is.
        run_context: ids and `session_state` of the run.
        tool_call: the call.
        result: the text that the model will read; None if the tool raised.
        error: what the tool raised, or None.

    Order: as for all points.

    Errors: `InputCheckError` and `OutputCheckError` reject the run. Any other exception is recorded with the run,
    which goes on.

    Example:
        ```python
        import logging

        from hookline import hookimpl
        from hookline.messages import ToolCall


        @hookimpl
        def post_tool(tool_call: ToolCall, error: Exception | None) -> None:
            if error is not None:
                logging.warning("tool %s failed: %s", tool_call.name, error)
        ```
    """


# Background work


@hookspec
def schedule_background(delivery: Delivery, runnable: Runnable, run_output: RunOutput) -> Schedule | Refuse | None:
    """Delay a delivery, or refuse it, before it is stored; sync only.

    Called on the event loop before the transaction that would store it, so it must return at once.

    Args:
        delivery: what would be stored.
        runnable: whose hook it is.
        run_output: the run that it belongs to.

    Returns:
        None to leave it as it is, `Schedule(delay=seconds)` to start it later, or `Refuse(reason=...)`. The first
        plugin that says something decides.

    Order: as for all points.

    Errors: logged, and taken as None: the delivery is stored.

    Example:
        ```python
        from hookline import Delivery, hookimpl
        from hookline.scheduling import Schedule


        @hookimpl
        def schedule_background(delivery: Delivery) -> Schedule | None:
            return Schedule(delay=60.0) if delivery.hook == "send_digest" else None
        ```
    """


@hookspec
def delivery_finished(delivery: Delivery, runnable: Runnable) -> Awaitable[None] | None:
    """See a delivery that is `delivered`, `dead` or `discarded`; sync (in a thread) or async.

    Called in the process that settled it, after that is stored, for at most 8 deliveries at a time. It is an
    observation, not a delivery of its own: if the process dies in between, nobody calls it again, and when 10,000 wait
    to be told of, the oldest are left out, which is logged.

    Args:
        delivery: the delivery, with its final status and `last_error`.
        runnable: whose hook it was.

    Order: as for all points.

    Errors: logged; the delivery stays what it is.

    Example:
        ```python
        import logging

        from hookline import Delivery, hookimpl


        @hookimpl
        def delivery_finished(delivery: Delivery) -> None:
            if delivery.status == "dead":
                logging.error("hook %s gave up: %s", delivery.hook, delivery.last_error)
        ```
    """


# Providers: settings choose which one is used, by name, never the order of installation


@hookspec
def storages() -> Mapping[str, Callable[[str], Database]]:
    """Offer storages: what the setting `storage` may name; sync only.

    Called once when the plugin is loaded.

    Returns:
        For each name a function that makes a database of the setting `database`: a path, a URL. It opens nothing.

    Order: has no meaning; two plugins that offer one name are an error where that name is used.

    Errors: the plugin is `failed`, and not used at all.

    Example:
        ```python
        from collections.abc import Callable, Mapping

        from hookline import hookimpl
        from hookline.storage import Database


        def open_archive(database: str) -> Database:
            from hookline_archive import ArchiveDb  # a library that is dear to import

            return ArchiveDb(database)


        @hookimpl
        def storages() -> Mapping[str, Callable[[str], Database]]:
            return {"archive": open_archive}
        ```
    """
    return {}


@hookspec
def models() -> Mapping[str, Callable[[str], Model]]:
    """Offer models: what `Agent(model="name:id")` may name before the colon; sync only.

    Called once when the plugin is loaded.

    Returns:
        For each name a function that makes a model of the text after the colon. It opens nothing.

    Order: has no meaning; two plugins that offer one name are an error where that name is used.

    Errors: the plugin is `failed`, and not used at all.

    Example:
        ```python
        from collections.abc import Callable, Mapping

        from hookline import Message, hookimpl
        from hookline.models import Model, ModelRequest, ModelResponse


        class Parrot:
            def __init__(self, id: str) -> None:
                self.id = id

            def open(self) -> None: ...

            async def respond(self, request: ModelRequest, emit: Callable[[str], None]) -> ModelResponse:
                text = request.messages[-1].content or ""
                if request.stream:
                    emit(text)
                return ModelResponse(Message(role="assistant", content=text))

            async def aclose(self) -> None: ...


        @hookimpl
        def models() -> Mapping[str, Callable[[str], Model]]:
            return {"parrot": Parrot}
        ```
    """
    return {}


@hookspec
def transports() -> Mapping[str, Transport]:
    """Offer transports: what the setting `transport` may name; sync only.

    Called once when the plugin is loaded.

    Returns:
        For each name an object with `create_app` and `serve`, see `hookline.transport.Transport`.

    Order: has no meaning; two plugins that offer one name are an error where that name is used.

    Errors: the plugin is `failed`, and not used at all.

    Example:
        ```python
        from collections.abc import Mapping
        from typing import Any

        from hookline import AgentOS, hookimpl
        from hookline.transport import Transport


        class Console:
            def create_app(self, agent_os: AgentOS) -> Any:
                return agent_os

            def serve(self, agent_os: AgentOS, app: Any | str, *, host: str, port: int, reload: bool) -> None:
                print("agents:", *(id for kind, id in agent_os.runnables if kind == "agent"))


        @hookimpl
        def transports() -> Mapping[str, Transport]:
            return {"console": Console()}
        ```
    """
    return {}


# The application


@hookspec
def authenticate(headers: Mapping[str, str], method: str, path: str) -> Principal | Awaitable[Principal | None] | None:
    """Say who is asking; sync (in a thread) or async.

    Called before each request is answered but `/health`, once any plugin implements it. From then on a request that
    nobody knows is refused (401). API keys come first: who shows one is not asked about here.

    Args:
        headers: the request's headers, found by their names in lower case; of a repeated one the first.
        method: the request's method, in capitals.
        path: the request's path, without its query, and without the path that the app is mounted at.

    Returns:
        `Principal(user_id, scopes)`; the first plugin that gives one decides. None says: not mine.

    Order: as for all points.

    Errors: `AuthenticationError` refuses the request at once (401), and the client reads its message. Any other
    exception, or no end within the time limit (`@hook(timeout=5)`; 30 s), is logged, and nobody gets in (503). A
    plugin that cannot be loaded cannot ask: name it in the setting `required_plugins`.

    Example:
        ```python
        import hmac
        import os
        from collections.abc import Mapping

        from hookline import AuthenticationError, Principal, hookimpl


        @hookimpl
        def authenticate(headers: Mapping[str, str]) -> Principal | None:
            # Believe a proxy that shows a secret of ours, and says whose request it passes on.
            shown = headers.get("x-proxy-secret")
            if shown is None:
                return None
            if not hmac.compare_digest(shown.encode(), os.environ["PROXY_SECRET"].encode()):
                raise AuthenticationError("x-proxy-secret is wrong")
            return Principal(headers["x-user"], headers.get("x-scopes", "").split())
        ```
    """
    return None


@hookspec
def lifespan(agent_os: AgentOS) -> AbstractAsyncContextManager[None]:
    """Live as long as the server: open what the plugin needs, and close it; sync, giving an async context manager.

    Entered after the storage is open and before the first run; left after the last delivery is done.

    Args:
        agent_os: the server; `agent_os.storage` is open.

    Order: entered as for all points, left in reverse.

    Errors: the plugin is `failed` and the server starts without its lifespan; a plugin that is required, or
    `--strict-plugins`, stops the start.

    Example:
        ```python
        from collections.abc import AsyncIterator
        from contextlib import asynccontextmanager

        from hookline import AgentOS, hookimpl


        @hookimpl
        @asynccontextmanager
        async def lifespan(agent_os: AgentOS) -> AsyncIterator[None]:
            print("serving", len(agent_os.runnables), "runnables")
            yield
            print("bye")
        ```
    """
    return nullcontext()


@hookspec
def commands() -> Sequence[click.Command]:
    """Add commands to `hookline` on the command line; sync only.

    Called when somebody asks for help, or for a command that is not hookline's own.

    Returns:
        click commands or groups. Names of hookline's own commands cannot be taken.

    Order: has no meaning; of two commands with one name the first plugin's, by its name, is used, and the other one
    is named in a warning.

    Errors: a warning names the plugin; the other commands are there.

    Example:
        ```python
        from collections.abc import Sequence

        import click

        from hookline import hookimpl


        @click.command()
        @click.argument("name")
        def greet(name: str) -> None:
            click.echo(f"hello {name}")


        @hookimpl
        def commands() -> Sequence[click.Command]:
            return [greet]
        ```
    """
    return ()


@hookspec
def hookspecs() -> Sequence[object]:
    """Add hook points of the plugin's own, which other plugins may implement; sync only.

    Called once when the plugin is loaded. The plugin calls the implementations itself:
    `for each in agent_os.registry.implementations("parcel_sent"): each.function(...)`.

    Returns:
        Modules or classes whose functions are marked `@hookspec`. A name that is taken is refused.

    Order: has no meaning.

    Errors: the plugin is `failed`, and not used at all.

    Example:
        ```python
        from collections.abc import Sequence

        from hookline import hookimpl
        from hookline.hookspecs import hookspec


        class Points:
            @hookspec
            def parcel_sent(self, parcel: str) -> None: ...


        @hookimpl
        def hookspecs() -> Sequence[object]:
            return [Points]
        ```
    """
    return ()
