"""Every exception that hookline raises, as one tree.

HooklineError
├── ConfigurationError          the app's author made a mistake: said at start, with its mend
│   └── PluginError             a plugin cannot be used
├── CheckError                  a guard says no
│   ├── InputCheckError
│   └── OutputCheckError
├── HookError                   a hook failed, timed out, or ended in a way that no hook may
│   └── HookTimeoutError
├── RetryAfter                  said by a background hook: try again, then
├── GiveUp                      said by a background hook: it is of no use to try again
├── AuthenticationError         who asks is not who they say
├── ModelError                  the model's side failed: unreachable, refused, garbage
├── ToolArgumentsError          a model's arguments do not fit the tool (`hookline.tools`)
├── ToolResultError             a tool returned what JSON has no form for (`hookline.tools`)
├── RunNotCompletedError        raised by `RunOutput.raise_for_status()`
├── SessionBusyError            the session is taken and `on_busy="reject"`, or the same run holds it
├── SessionNotFoundError        the session belongs to somebody else
├── ServerBusyError             a limit of this server is reached, or it is shutting down
├── RunningLoopError            `run()` was called where an event loop runs
└── StorageError                the database failed; nothing was stored by half
    └── RunLostError            the run was taken over while this process still worked on it
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from hookline.jsontext import storable

if TYPE_CHECKING:
    from hookline.runs import RunOutput


class HooklineError(Exception):
    """Root of all exceptions of hookline."""


class ConfigurationError(HooklineError):
    """A definition or a setting is wrong; the message names the culprit and the mend."""


class PluginError(ConfigurationError):
    """A plugin cannot be loaded or used."""


class CheckError(HooklineError):
    """A guard rejects the run; raise `InputCheckError` or `OutputCheckError`.

    Args:
        message: why, for the log and the ledger; it is never sent to the client.
        check_trigger: a short machine-readable word for the rule that fired, or an enum's member that stands for one;
            the client gets it.
        additional_data: anything JSON can hold, kept with the run.
    """

    check_trigger: str | None = None
    additional_data: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self,
        message: str = "",
        *,
        check_trigger: str | Enum | None = None,
        additional_data: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.check_trigger = None if check_trigger is None else _word(check_trigger)
        self.additional_data = dict(additional_data or {})


def _word(trigger: object) -> str:
    """The rule's word: it goes into the ledger and to the client, whatever was given."""
    return storable(str(trigger.value if isinstance(trigger, Enum) else trigger))


class InputCheckError(CheckError):
    """The input is not acceptable: the run is rejected."""


class OutputCheckError(CheckError):
    """The output is not acceptable: the run is rejected and its text is withheld."""


class HookError(HooklineError):
    """A hook failed in a way that fails its run."""


class HookTimeoutError(HookError):
    """A hook or a tool did not end within its time limit."""


class RetryAfter(HooklineError):  # noqa: N818 - it reads as what it says: raise RetryAfter(30)
    """Raised by a background hook that knows when to try again: a far end said so, say.

    The attempt has failed: it counts towards `retries`, and after the last one the delivery is dead. The wait is this
    one, exactly, instead of the backoff; at most 7 days. A far end that says when to come back lives, so it is none of
    the failures that pause the hook. Raised by an inline hook it is a failure like any other.

    Args:
        seconds: how long to wait, 0 or more.
        reason: why, for the ledger.

    Raises:
        ValueError: `seconds` is negative, infinite, or no number.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
            raise ValueError(f"RetryAfter({seconds!r}): it takes a number of seconds, 0 or more")
        super().__init__(f"try again after {seconds:g} s" + (f": {reason}" if reason else ""))
        self.seconds = float(seconds)


class GiveUp(HooklineError):  # noqa: N818 - it reads as what it says: raise GiveUp("no such customer")
    """Raised by a background hook for which a further attempt is of no use: its delivery is dead at once.

    It says something about this delivery, not about the hook, so it is none of the failures that pause the hook. Raised
    by an inline hook it is a failure like any other.

    Args:
        reason: why, for the ledger.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class AuthenticationError(HooklineError):
    """Raised by an `authenticate` hook: what the request shows is wrong, expired, revoked.

    Args:
        message: why; the client reads it (401), so it names no secret.
    """


class ModelError(HooklineError):
    """The model could not answer.

    Args:
        message: what happened, without secrets.
        status_code: the provider's HTTP status, when there was one.
    """

    def __init__(self, message: str, *, status_code: int | None = None) -> None:
        super().__init__(message)
        self.status_code = status_code


class RunNotCompletedError(HooklineError):
    """A run ended as rejected, failed or cancelled; `run_output` is that run."""

    def __init__(self, run_output: RunOutput) -> None:
        why = run_output.error.message if run_output.error else run_output.reason
        super().__init__(f"run {run_output.run_id} is {run_output.status}: {why or 'no reason given'}")
        self.run_output = run_output


class SessionBusyError(HooklineError):
    """Another run holds the session."""


class SessionNotFoundError(HooklineError):
    """There is no such session for this user: it is somebody else's."""


class ServerBusyError(HooklineError):
    """The server takes no further run now; `retry_after` is in seconds, None while it shuts down."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RunningLoopError(HooklineError, RuntimeError):
    """`run()` was called where an event loop runs: await `arun()` there."""


class StorageError(HooklineError):
    """The storage could not do an operation; what it belonged to was not stored."""


class RunLostError(StorageError):
    """The run is no longer this process's: another one took it over after a silence."""
