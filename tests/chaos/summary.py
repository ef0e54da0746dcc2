"""What a report says, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from chaos.driver import Report

MOST_TOLD = 20


def summary(report: Report) -> str:
    """Faults, answers, runs, deliveries, attempts, and how long recovery took."""
    seen, ledger = report.seen, report.ledger
    runs = ledger.runs if ledger else []
    deliveries = ledger.deliveries if ledger else []
    attempts = ledger.attempts if ledger else []
    starts = Counter((entry.run_id, entry.hook) for entry in report.journal if entry.event == "start")
    sections: list[tuple[str, Mapping[str, int]]] = [
        ("faults", {str(kind): count for kind, count in seen.done.items()}),
        ("answers", Counter(f"{asked.mode}: {asked.answer}" for asked in report.asked)),
        ("runs", Counter(_words(row["status"], row["reason"]) for row in runs)),
        ("deliveries", Counter(row["status"] for row in deliveries)),
        ("attempts", Counter(row["outcome"] for row in attempts)),
        ("interruptions", Counter(f"{row['interruptions']} times" for row in deliveries if row["interruptions"])),
        ("hooks started", Counter("once" if count == 1 else "more than once" for count in starts.values())),
    ]
    lines = [f"{sum(seen.done.values())} of {report.planned} faults in {report.wall:.0f} s, seed {report.options.seed}"]
    for title, counts in sections:
        lines.append(f"{title}: {sum(counts.values())}")
        lines += [f"    {count:>7}  {word}" for word, count in sorted(counts.items(), key=lambda item: -item[1])]
    lines += [
        f"longest recovery after a kill: {seen.recovery:.2f} s; longest takeover from a frozen server: "
        f"{seen.takeover:.1f} s ({seen.frozen_with_lock} froze in a transaction); "
        f"all had ended {report.settling:.1f} s after the last fault",
        f"violations: {len(report.violations)}",
    ]
    return "\n".join(lines)


def told(report: Report) -> str:
    """The violations, where to look, and how to do it again."""
    lines = [f"{violation.run_id or '-'}: {violation.what}" for violation in report.violations[:MOST_TOLD]]
    if len(report.violations) > MOST_TOLD:
        lines.append(f"... and {len(report.violations) - MOST_TOLD} more")
    again = f"python -m chaos --faults {report.options.faults} --seed {report.options.seed}"
    return "\n".join(
        [*lines, f"kept: {report.options.directory} (ledger.db, events.jsonl, server.log); again: {again}"]
    )


def _words(*words: Iterable[str] | None) -> str:
    return " ".join(str(word) for word in words if word)
