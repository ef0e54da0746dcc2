"""Agents: a model, its instructions and its tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from hookline.errors import ConfigurationError, ModelError
from hookline.messages import Message
from hookline.models import Model, ModelRequest
from hookline.runnable import OnBusy, RunScope
from hookline.standalone import Runner
from hookline.storage import Database
from hookline.tools import Tool

MARKDOWN = "Format your answer in Markdown where that makes it clearer."


class Agent(Runner):
    """A model with instructions and tools, and the hooks around its runs.

    Args:
        id: what it is called in URLs and in the ledger; default: the slug of `name`.
        name: what people call it; default: `id`.
        model: a model object, or within an AgentOS a text such as `"openai:gpt-4o-mini"`: a plugin's provider and
            the model's id.
        description: what the agent is; the first words of the system message.
        instructions: what it is to do: a text, or several.
        tools: functions or `Tool`s that the model may call.
        output_schema: a pydantic model (or any type that pydantic validates) that the answer must follow; the run's
            `content` is then plain data.
        db: where runs are stored; within an AgentOS all its runnables share one.
        session_state: what the state of a new session starts with.
        pre_hooks: called before each run, in this order.
        post_hooks: called after each run, in this order.
        add_history_to_context: whether the model is shown earlier runs of the session.
        num_history_runs: how many of them.
        retries: how often the model's client repeats a call that failed; default: its own choice.
        max_turns: how many model calls one run may take.
        markdown: whether to ask for Markdown.
        on_busy: what a run does whose session is taken: `wait` for its turn, or `reject`.

    Raises:
        ConfigurationError: a definition that cannot work.
    """

    kind: ClassVar[str] = "agent"

    def __init__(
        self,
        id: str | None = None,
        *,
        name: str | None = None,
        model: Model | str | None = None,
        description: str | None = None,
        instructions: str | Sequence[str] | None = None,
        tools: Sequence[Tool | Callable[..., Any]] | None = None,
        output_schema: Any = None,
        db: Database | None = None,
        session_state: dict[str, Any] | None = None,
        pre_hooks: Sequence[Callable[..., Any]] | None = None,
        post_hooks: Sequence[Callable[..., Any]] | None = None,
        add_history_to_context: bool = False,
        num_history_runs: int = 3,
        retries: int | None = None,
        max_turns: int = 20,
        markdown: bool = False,
        on_busy: OnBusy = "wait",
    ) -> None:
        super().__init__(
            id=id,
            name=name,
            db=db,
            session_state=session_state,
            pre_hooks=pre_hooks,
            post_hooks=post_hooks,
            history_runs=num_history_runs if add_history_to_context else 0,
            on_busy=on_busy,
        )
        for argument, value, least in (("num_history_runs", num_history_runs, 0), ("max_turns", max_turns, 1)):
            if value < least:
                raise ConfigurationError(f"Agent {self.id!r}: {argument}={value!r} must be {least} or more")
        self.tools = [each if isinstance(each, Tool) else Tool.of(each) for each in tools or ()]
        self.retries = retries
        self.max_turns = max_turns
        self.output_schema = output_schema
        self._model = model
        self._system = _system_text(description, instructions, markdown=markdown)
        self._schema: Mapping[str, Any] | None = None
        self._adapter: Any = None

    @property
    def model(self) -> Model:
        """The model.

        Raises:
            ConfigurationError: there is none, or it is a text that only an AgentOS can look up.
        """
        if self._model is None:
            raise ConfigurationError(f"agent {self.id!r} has no model: give it one, such as OpenAIChat(id=...)")
        if isinstance(self._model, str):
            raise ConfigurationError(
                f"agent {self.id!r}: the model {self._model!r} is looked up by an AgentOS; "
                f"outside one give a model object"
            )
        return self._model

    @property
    def models(self) -> Sequence[Model]:
        """Its one model."""
        return (self.model,)

    def resolve_model(self, find: Callable[[str, str], Model]) -> None:
        """Put the model object in the place of its text; `find` gets the provider's name and the model's id.

        Raises:
            ConfigurationError: the text is not of the form `provider:id`, or there is no such provider.
        """
        if isinstance(self._model, str):
            provider, colon, model_id = self._model.partition(":")
            if not (provider and colon and model_id):
                raise ConfigurationError(
                    f"agent {self.id!r}: model={self._model!r} must be 'provider:model', such as 'openai:gpt-4o-mini'"
                )
            self._model = find(provider, model_id)

    def replace_model(self, model: Model) -> None:
        """Ask another model from now on; for tests, see `AgentOS.replaced`."""
        self._model = model
        self._plan = None

    def check(self) -> None:
        """See `Runnable.check`; also reads the signatures of the tools."""
        model = self.model
        if not isinstance(model, Model):
            raise ConfigurationError(f"agent {self.id!r}: model={model!r} is no model; OpenAIChat(id=...) is one")
        names = [tool.name for tool in self.tools]
        for name in names:
            if names.count(name) > 1:
                raise ConfigurationError(
                    f"agent {self.id!r} has two tools named {name!r}: rename one with @tool(name=)"
                )
        for tool in self.tools:
            tool.prepare()
        if self.output_schema is not None and self._adapter is None:
            self._prepare_output()

    def _prepare_output(self) -> None:
        from pydantic import TypeAdapter  # heavy, and only some agents need it
        from pydantic.errors import PydanticUserError
        from pydantic_core import SchemaError

        try:
            adapter = TypeAdapter(self.output_schema)
            schema = adapter.json_schema()
        except (PydanticUserError, SchemaError, TypeError) as error:
            raise ConfigurationError(
                f"agent {self.id!r}: output_schema={self.output_schema!r} must be a pydantic model, a dataclass or "
                f"another type that pydantic can validate: {str(error).splitlines()[0]}"
            ) from error
        self._adapter = adapter
        self._schema = {"title": getattr(self.output_schema, "__name__", "Output"), **schema}

    async def perform(self, scope: RunScope) -> None:
        """Ask the model, call the tools that it asks for, until it answers."""
        user = Message("user", scope.run_input.input_content)
        produced = scope.output.messages = [user]
        before = [Message("system", self._system)] if self._system else []
        definitions = [tool.definition for tool in self.tools]
        for _ in range(self.max_turns):
            request = ModelRequest(
                messages=[*before, *scope.history, *produced],
                tools=definitions,
                stream=scope.stream,
                output_schema=self._schema,
                retries=self.retries,
            )
            answer = (await scope.ask(self.model, request)).message
            produced.append(answer)
            if not answer.tool_calls:
                scope.output.content = self._content(answer)
                return
            produced.extend(await scope.call_tools(answer.tool_calls, self.tools))
        raise ModelError(f"model {self.model.id!r} still calls tools after {self.max_turns} turns (max_turns)")

    def _content(self, answer: Message) -> Any:
        if self._adapter is None:
            return answer.content
        try:
            value = self._adapter.validate_json(answer.content or "")
        except ValueError as error:
            raise ModelError(f"model {self.model.id!r} did not follow the output_schema: {error}") from error
        return self._adapter.dump_python(value, mode="json")


def _system_text(description: str | None, instructions: str | Sequence[str] | None, *, markdown: bool) -> str:
    parts = [description] if description else []
    if isinstance(instructions, str):
        parts.append(instructions)
    elif instructions:
        parts.append("\n".join(f"- {instruction}" for instruction in instructions))
    if markdown:
        parts.append(MARKDOWN)
    return "\n\n".join(parts)
