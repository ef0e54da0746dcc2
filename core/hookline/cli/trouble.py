"""Trouble: what is wrong and what to do about it, for whoever says it in a table or in one line."""

from __future__ import annotations

from dataclasses import dataclass

from hookline.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, and the mend."""

    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{self.reason}; {self.mend}"


def stop_for(trouble: Trouble | None) -> None:
    """Stop a command that cannot succeed.

    Raises:
        ConfigurationError: there is trouble.
    """
    if trouble is not None:
        raise ConfigurationError(str(trouble))
