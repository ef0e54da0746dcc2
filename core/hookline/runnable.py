"""Runnables: the definitions of what can be run."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Protocol

from hookline.errors import ConfigurationError
from hookline.events import EventName
from hookline.jsontext import dumps
from hookline.messages import Message, ToolCall
from hookline.models import Model, ModelRequest, ModelResponse
from hookline.runs import RunContext, RunInput, RunOutput
from hookline.storage import Database
from hookline.tools import Tool

OnBusy = Literal["wait", "reject"]

_NOT_IN_A_SLUG = re.compile(r"[^a-z0-9]+")
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,255}")


def slug(name: str) -> str:
    """An id made of a name: `BackgroundTask Agent` becomes `background-task-agent`."""
    return _NOT_IN_A_SLUG.sub("-", _CAMEL_CASE.sub("-", name).lower()).strip("-")


class RunScope(Protocol):
    """What a runnable sees of the run that it performs."""

    stream: bool
    run_input: RunInput
    run_context: RunContext
    output: RunOutput
    history: list[Message]

    def emit(self, event: EventName, **data: Any) -> None:
        """Write an event into the run's buffer."""

    async def ask(self, model: Model, request: ModelRequest) -> ModelResponse:
        """Call a model, with the plugins' hooks around it; its text is emitted, its usage counted."""
        ...

    async def call_tools(self, calls: Sequence[ToolCall], tools: Sequence[Tool]) -> list[Message]:
        """Call tools side by side and return their answers in the order of the calls.

        What a tool raises is an answer too: the model reads it.
        """
        ...


class Runnable(ABC):
    """What agents, teams and workflows have in common; immutable while it is served."""

    kind: ClassVar[str]

    def __init__(
        self,
        *,
        id: str | None,
        name: str | None,
        db: Database | None,
        session_state: dict[str, Any] | None,
        pre_hooks: Sequence[Callable[..., Any]] | None,
        post_hooks: Sequence[Callable[..., Any]] | None,
        history_runs: int,
        on_busy: OnBusy,
    ) -> None:
        what = type(self).__name__
        if not id and not (name and slug(name)):
            raise ConfigurationError(f"{what}: give it an id or a name")
        self.id = id or slug(name or "")
        if not _ID.fullmatch(self.id):
            raise ConfigurationError(
                f"{what} id {self.id!r}: use letters, digits and . _ : @ -, at most 256, a letter or digit first"
            )
        self.name = name or self.id
        if db is not None and not isinstance(db, Database):
            raise ConfigurationError(f"{what} {self.id!r}: db={db!r} is no database; SqliteDb(db_file=...) is one")
        if on_busy not in ("wait", "reject"):
            raise ConfigurationError(f"{what} {self.id!r}: on_busy={on_busy!r} must be 'wait' or 'reject'")
        self.db = db
        self.session_state = dict(session_state or {})
        self.state_text = _state_text(what, self.id, self.session_state)
        self.pre_hooks = _hooks(what, self.id, "pre_hooks", pre_hooks)
        self.post_hooks = _hooks(what, self.id, "post_hooks", post_hooks)
        self.history_runs = history_runs
        self.on_busy = on_busy

    @abstractmethod
    async def perform(self, scope: RunScope) -> None:
        """Do the work between acceptance and outcome: fill `scope.output.content` and its messages."""

    @abstractmethod
    def check(self) -> None:
        """Find the mistakes that a definition can have, before anything is served.

        Raises:
            ConfigurationError: with the culprit's name and the mend.
        """

    @property
    def models(self) -> Sequence[Model]:
        """The models that it uses."""
        return ()


def _state_text(what: str, id: str, state: dict[str, Any]) -> str:
    try:
        return dumps(state)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{what} {id!r}: session_state cannot be stored as JSON: {error}") from error


def _hooks(
    what: str, id: str, argument: str, hooks: Sequence[Callable[..., Any]] | None
) -> tuple[Callable[..., Any], ...]:
    if hooks is not None and (isinstance(hooks, str) or not isinstance(hooks, Sequence)):
        raise ConfigurationError(f"{what} {id!r}: {argument} must be a list of hooks, not {hooks!r}")
    return tuple(hooks or ())
