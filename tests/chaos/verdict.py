"""The verdict: what was promised, held against the clients' answers, the journal, the ledger and the model's calls."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chaos.journal import Entry
from chaos.ledger import Contents, Row
from chaos.plan import HOOKS, RETRIES, acts_of, number_of
from chaos.traffic import Asked

MAX_INTERRUPTIONS = 3
TERMINAL_STATUSES = {"completed", "failed", "cancelled"}
HARMLESS = {"200", "202", "409", "503"}
COUNTED_OUTCOMES = {"delivered", "failed", "timeout"}


@dataclass(frozen=True)
class Violation:
    """A promise that was not kept; `run_id` is empty where no run is to blame."""

    run_id: str
    what: str


@dataclass(frozen=True)
class Evidence:
    """All that was seen."""

    asked: Sequence[Asked]
    journal: Sequence[Entry]
    ledger: Contents
    calls_of: Mapping[str, int]


def judge(evidence: Evidence) -> list[Violation]:
    """All violations."""
    return [*_Court(evidence).violations()]


class _Court:
    def __init__(self, evidence: Evidence) -> None:
        ledger = evidence.ledger
        self._evidence = evidence
        self._runs: dict[str, Row] = {row["run_id"]: row for row in ledger.runs}
        self._deliveries: dict[str, list[Row]] = defaultdict(list)
        self._attempts: dict[str, list[Row]] = defaultdict(list)
        self._lines: dict[str, list[Entry]] = defaultdict(list)
        for row in ledger.deliveries:
            self._deliveries[row["run_id"]].append(row)
        for row in ledger.attempts:
            self._attempts[row["delivery_id"]].append(row)
        for entry in evidence.journal:
            self._lines[entry.run_id].append(entry)

    def violations(self) -> Iterator[Violation]:
        """One after the other."""
        for asked in self._evidence.asked:
            yield from (
                Violation(asked.run_id or "", f"{what} (run {asked.number})") for what in self._of_answer(asked)
            )
        for run in self._runs.values():
            yield from (Violation(run["run_id"], what) for what in self._of_run(run))
        for run_id in self._lines.keys() - self._runs.keys():
            yield Violation(run_id, "a hook was called for a run that is not stored")
        yield from (Violation("", what) for what in self._of_all())

    # what clients were told

    def _of_answer(self, asked: Asked) -> Iterator[str]:
        if asked.status is None:
            return
        run = self._runs.get(asked.run_id or "")
        if str(asked.status) not in HARMLESS:
            yield f"unexpected answer: {asked.answer}"
        if asked.status in {200, 202} and run is None and not _says_not_stored(asked):
            yield f"answered {asked.answer}, and not stored"
        if run is not None and asked.run is not None:
            yield from _differences(asked.run, run)
        if run is not None and run["status"] == "completed" and _says_not_stored(asked):
            yield f"answered {asked.answer}, and stored as completed"
        if run is not None and run["input"] is not None and number_of(run["input"]) != asked.number:
            yield f"the answer names the run of number {number_of(run['input'])}"

    # what is stored

    def _of_run(self, run: Row) -> Iterator[str]:
        if run["status"] not in TERMINAL_STATUSES:
            yield f"the run is {run['status']}"
        if run["input"] is None:  # never accepted: cancelled before
            expected = HOOKS[1:] if run["runnable_id"] == "around" else HOOKS
        else:
            expected = HOOKS
            yield from self._of_model_calls(run)
        rows = self._deliveries[run["run_id"]]
        if tuple(row["hook"] for row in rows) != expected:
            yield f"it has the deliveries {[row['hook'] for row in rows]}"
        yield from self._of_order(run, rows)
        for row in rows:
            yield from (f"hook {row['hook']}: {what}" for what in self._of_delivery(run, row))

    def _of_model_calls(self, run: Row) -> Iterator[str]:
        calls = self._evidence.calls_of.get(run["input"], 0)
        if calls > 1 or (calls == 0 and run["status"] == "completed"):
            yield f"the model was called {calls} times"

    def _of_order(self, run: Row, rows: Sequence[Row]) -> Iterator[str]:
        starts = [entry.hook for entry in self._lines[run["run_id"]] if entry.event == "start"]
        first = list(dict.fromkeys(starts))
        in_order = [row["hook"] for row in rows if row["hook"] in first]
        if first != in_order:
            yield f"its hooks were first started in the order {first}"

    def _of_delivery(self, run: Row, row: Row) -> Iterator[str]:
        entries = [entry for entry in self._lines[run["run_id"]] if entry.hook == row["hook"]]
        outcomes = [attempt["outcome"] for attempt in self._attempts[row["delivery_id"]]]
        counted = [outcome for outcome in outcomes if outcome in COUNTED_OUTCOMES]
        if any(entry.delivery_id != row["delivery_id"] for entry in entries):
            yield "it was called with the id of another delivery"
        if row["status"] not in {"delivered", "dead"}:
            yield f"it is {row['status']}"
        if row["status"] == "delivered" and not any(entry.event == "end" for entry in entries):
            yield "it is delivered, and never came to its end"
        if (row["status"] == "delivered") != (outcomes[-1:] == ["delivered"]) or "delivered" in outcomes[:-1]:
            yield f"it is {row['status']} after {outcomes}"
        if len(counted) != row["attempt_count"] or row["attempt_count"] > RETRIES + 1:
            yield f"it has {row['attempt_count']} attempts after {outcomes}"
        if row["status"] == "dead" and row["interruptions"] < MAX_INTERRUPTIONS and len(counted) != RETRIES + 1:
            yield f"it is dead after {outcomes}"
        if run["input"] is not None:
            yield from _of_act(run, row, outcomes)

    # the whole

    def _of_all(self) -> Iterator[str]:
        ledger = self._evidence.ledger
        stored = Counter(run["input"] for run in ledger.runs if run["input"] is not None)
        yield from (f"{count} runs are stored for {message!r}" for message, count in stored.items() if count > 1)
        repeated = {message: count for message, count in self._evidence.calls_of.items() if count > 1}
        yield from (f"the model was called {count} times for {message!r}" for message, count in repeated.items())
        completed = Counter(run["session_id"] for run in ledger.runs if run["status"] == "completed")
        cancelled = Counter(run["session_id"] for run in ledger.runs if run["status"] == "cancelled")
        for session in ledger.sessions:
            name, counted = session["session_id"], json.loads(session["state"]).get("runs", 0)
            if not completed[name] <= counted <= completed[name] + cancelled[name]:  # cancelled: perhaps after the hook
                yield f"session {name} counts {counted} runs, and {completed[name]} are completed"
            if session["active_run_id"] is not None:
                yield f"session {session['session_id']} is held by run {session['active_run_id']}"
        if ledger.servers:
            yield f"{len(ledger.servers)} servers have a row, and none is alive"


def _says_not_stored(asked: Asked) -> bool:
    return asked.status == 503 or (asked.run or {}).get("reason") == "not_stored"


def _differences(told: Mapping[str, object], run: Row) -> Iterator[str]:
    """What a client was told of a run, and what is stored of it."""
    if told.get("reason") == "not_stored":
        return  # the client knows that its answer is not the ledger's
    stored = json.loads(run["document"]) if run["document"] else {}
    for name in ("status", "reason", "content"):
        if told.get(name) != stored.get(name):
            yield f"the client was told {name}={told.get(name)!r}, and stored is {stored.get(name)!r}"
    if run["status"] != told.get("status"):
        yield f"the client was told {told.get('status')!r}, and the run is {run['status']!r}"


def _of_act(run: Row, row: Row, outcomes: Sequence[str]) -> Iterator[str]:
    """A hook that always fails is dead; another one only if processes died in it, or it never got its time."""
    act = acts_of(run["input"])[row["hook"]]
    if act.ends_badly and row["status"] == "delivered":
        yield f"it is delivered, and its act is {act}"
    unlucky = row["interruptions"] >= MAX_INTERRUPTIONS or "timeout" in outcomes
    if row["status"] == "dead" and not act.ends_badly and not unlucky:
        yield f"it is dead after {outcomes}, and its act is {act}"
