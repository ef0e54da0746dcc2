"""What a runnable uses while it performs a run: model calls and tool calls, with the plugins' points around them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hookline.calling import Callee
from hookline.errors import CheckError, ModelError
from hookline.events import EventName
from hookline.execution.inline import InlineHooks, RunRejectedError
from hookline.execution.live_run import LiveRun
from hookline.execution.points import Points
from hookline.execution.record import message_of
from hookline.messages import Message, ToolCall
from hookline.models import Model, ModelRequest, ModelResponse
from hookline.threads import DaemonThreads
from hookline.tools import Tool, ToolArgumentsError


class Scope:
    """A `hookline.runnable.RunScope` on a live run."""

    def __init__(self, run: LiveRun, *, inline: InlineHooks, points: Points, tool_threads: DaemonThreads) -> None:
        self.stream = run.stream
        self.run_input = run.run_input
        self.run_context = run.run_context
        self.output = run.output
        self.history = run.history
        self.emit = run.emit
        self._run = run
        self._inline = inline
        self._points = points
        self._tool_threads = tool_threads

    async def ask(self, model: Model, request: ModelRequest) -> ModelResponse:
        """Call a model; see `RunScope.ask`.

        Raises:
            ModelError: the model could not answer, whatever it raised.
            RunRejectedError: a plugin's hook raised a check error.
        """
        await self._call_points("pre_model", {"request": request})
        emitted = False

        def emit_text(text: str) -> None:
            nonlocal emitted
            if not text:
                return
            if not emitted:
                emitted = True
                self._note_first_token()
            self.emit(EventName.RUN_CONTENT, content=text)

        try:
            response = await model.respond(request, emit_text)
        except ModelError:
            raise
        except BaseException as error:  # the border to models: not even SystemExit may end the loop
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                raise
            raise ModelError(f"model {model.id!r} failed: {type(error).__name__}: {message_of(error)}") from error
        if not emitted:
            emit_text(response.message.content or "")
        self._count(response)
        await self._call_points("post_model", {"request": request, "response": response})
        return response

    async def call_tools(self, calls: Sequence[ToolCall], tools: Sequence[Tool]) -> list[Message]:
        """Call tools side by side; see `RunScope.call_tools`.

        Raises:
            RunRejectedError: a plugin's hook raised a check error.
        """
        by_name = {tool.name: tool for tool in tools}
        answers = await asyncio.gather(*(self._answer(call, by_name) for call in calls))
        messages: list[Message] = []
        for answer in answers:
            if isinstance(answer, RunRejectedError):
                raise answer
            messages.append(answer)
        return messages

    async def _answer(self, call: ToolCall, tools: Mapping[str, Tool]) -> Message | RunRejectedError:
        try:
            await self._call_points("pre_tool", {"tool_call": call})
            self.emit(EventName.TOOL_CALL_STARTED, tool_call_id=call.id, name=call.name, arguments=call.arguments)
            result: str | None = None
            error: Exception | None = None
            try:
                result = await self._call(call, tools)
            except Exception as failure:  # noqa: BLE001 - the border to tools: the model reads what went wrong
                error = failure
            self._emit_answer(call, result, error)
            await self._call_points("post_tool", {"tool_call": call, "result": result, "error": error})
        except RunRejectedError as rejected:
            return rejected
        text = f"Error: {_tool_error(error)}" if error is not None else result
        return Message("tool", text, tool_call_id=call.id)

    def _emit_answer(self, call: ToolCall, result: str | None, error: Exception | None) -> None:
        if error is None:
            self.emit(EventName.TOOL_CALL_COMPLETED, tool_call_id=call.id, name=call.name, result=result)
            return
        description = {"type": type(error).__name__, "message": message_of(error)}
        self.emit(EventName.TOOL_CALL_FAILED, tool_call_id=call.id, name=call.name, error=description)

    async def _call(self, call: ToolCall, tools: Mapping[str, Tool]) -> str:
        tool = tools.get(call.name)
        if tool is None:
            raise ToolArgumentsError(f"there is no tool {call.name!r}; there is {', '.join(sorted(tools)) or 'none'}")
        arguments = tool.validate(call.arguments)
        arguments |= tool.injected({"run_context": self.run_context, "agent": self._run.runnable})
        callee = Callee(tool.function, tool.name, tool.is_async, (), (), takes_all=True)
        value = await self._inline.caller.call(callee, arguments, timeout=None, threads=self._tool_threads)
        return tool.result_text(value)

    async def _call_points(self, point: str, offered: dict[str, Any]) -> None:
        for hook in self._points.of(point):
            everything = {"runnable": self._run.runnable, "run_context": self.run_context, **offered}
            error = await self._inline.call_recorded(
                self._run, hook.callee, point, hook.plugin, everything.copy, hook.timeout
            )
            if isinstance(error, CheckError):
                raise RunRejectedError(hook.callee.name, error)

    def _note_first_token(self) -> None:
        metrics = self.output.metrics
        if metrics.time_to_first_token is None:
            metrics.time_to_first_token = time.perf_counter() - self._run.clock_started

    def _count(self, response: ModelResponse) -> None:
        metrics, usage = self.output.metrics, response.usage
        metrics.input_tokens += usage.input_tokens
        metrics.output_tokens += usage.output_tokens
        metrics.total_tokens += usage.total_tokens


def _is_being_cancelled() -> bool:
    """Whether somebody cancels this task, rather than the model having raised a cancellation of its own."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _tool_error(error: Exception) -> str:
    if isinstance(error, ToolArgumentsError):
        return str(error)
    return f"{type(error).__name__}: {message_of(error)}"
