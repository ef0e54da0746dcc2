"""Findings: what one check came to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """`ok`; `warn`: it works, but not as it should; `fail`: it does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; everything that is not ok comes with what to do."""

    check: str
    verdict: Verdict
    detail: str
    mend: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plain data of this finding."""
        return {"check": self.check, "status": self.verdict.value, "detail": self.detail, "mend": self.mend}


def ok(check: str, detail: str) -> Finding:
    """It is as it should be."""
    return Finding(check, Verdict.OK, detail)


def warn(check: str, detail: str, mend: str) -> Finding:
    """It works, but not as it should."""
    return Finding(check, Verdict.WARN, detail, mend)


def fail(check: str, detail: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(check, Verdict.FAIL, detail, mend)
