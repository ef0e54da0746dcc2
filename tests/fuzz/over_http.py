"""Fuzz the HTTP API of a real server process with schemathesis: all its checks, all its phases, and ours.

From `tests/`, for as long as you like:

    python -m fuzz.over_http --cases 20000 --seed 1

A third of the cases each goes to a server that is open, one with an API key, and one that knows a user who is no admin.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from server_process import ServerProcess

FUZZ = Path(__file__).parent
TOKEN = "fuzz"  # noqa: S105 - see served_app.py
ACCESSES = ("open", "key", "user")

PHASES = "examples,coverage,fuzzing,stateful"
RANDOM_PHASES = "fuzzing,stateful"
"""The phases of further rounds: the others make the same cases each time."""

CASES_PER_EXAMPLE = 30
"""About how many cases one more example of each operation makes: only a guess for the size of a round."""


@dataclass
class Findings:
    """What came of fuzzing one server.

    Attributes:
        cases: requests that schemathesis made and checked.
        statuses: how often which status was answered.
        operations: how often which status was answered by which operation, as `POST /path 200`.
        seconds: how long it took.
        failed: what schemathesis printed in rounds that found something.
    """

    cases: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failed: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))
        return f"{self.cases} cases in {self.seconds:.0f} s ({statuses})"


def fuzz(
    directory: Path, access: str, *, cases: int, seed: int, phases: str = PHASES, path: str = "", defect: str = ""
) -> Findings:
    """Serve the fuzzed app, and fuzz it until at least so many cases were made or something was found.

    Args:
        directory: an empty one, for the server and the reports.
        access: one of `ACCESSES`.
        cases: how many at least.
        seed: the same one makes the same cases, as far as the server's answers are the same.
        phases: of schemathesis, separated by commas.
        path: the only one that is fuzzed, if given.
        defect: what is broken on purpose; see `served_app.py`.
    """
    findings = Findings()
    began = time.monotonic()
    arguments = [str(FUZZ / "served_app.py")]
    with ServerProcess(directory, arguments=arguments, env={"ACCESS": access, "DEFECT": defect}) as server:
        round_number = 0
        while findings.cases < cases and not findings.failed:
            examples = min(max((cases - findings.cases) // CASES_PER_EXAMPLE, 5), 100)
            options = ["--seed", str(seed + round_number), "--max-examples", str(examples), "--phases", phases]
            _fuzz_once(server, access, findings, options + (["--include-path", path] if path else []))
            round_number, phases = round_number + 1, RANDOM_PHASES
        assert server.client.get("/health").status_code == 200
        findings.failed += _unexpected(server.log())
    findings.seconds = time.monotonic() - began
    return findings


def _fuzz_once(server: ServerProcess, access: str, findings: Findings, options: list[str]) -> None:
    report = server.directory / "report.ndjson"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(FUZZ / "schemathesis.toml"), "run"]
    command += [f"{server.url}/openapi.json", *options, "--no-color"]
    command += ["--report", "ndjson", "--report-ndjson-path", str(report)]
    if access != "open":
        command += ["--header", f"Authorization: Bearer {TOKEN}"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz.checks", "PYTHONPATH": str(FUZZ.parent)}
    ended = subprocess.run(command, cwd=server.directory, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        findings.failed.append(f"{' '.join(command)}\n{ended.stdout}{ended.stderr}")
    _count(report, findings)


def _unexpected(log: str) -> list[str]:
    """Errors that the server logged, besides those of the hooks and the model that fail on purpose."""
    on_purpose = (" delivery of ", " failed: the model is moody")
    errors = [
        line for line in log.splitlines() if line.startswith("ERROR") and not any(each in line for each in on_purpose)
    ]
    return ["the server's log:", *errors[:20]] if errors else []


def _count(report: Path, findings: Findings) -> None:
    with report.open() as lines:
        for line in lines:
            recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder", {})
            for case_id, interaction in recorder.get("interactions", {}).items():
                case = recorder["cases"][case_id]["value"]
                status = (interaction["response"] or {}).get("status_code", 0)
                findings.cases += 1
                findings.statuses[status] += 1
                findings.operations[f"{case['method']} {case['path']} {status}"] += 1


def main() -> int:
    """The command line; the exit status tells whether something was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--access", choices=ACCESSES, action="append", help="only this server; may be repeated")
    options = parser.parse_args()
    accesses = options.access or ACCESSES
    print(f"seed {options.seed}")
    failed = False
    for access in accesses:
        with tempfile.TemporaryDirectory() as directory:
            findings = fuzz(Path(directory), access, cases=-(-options.cases // len(accesses)), seed=options.seed)
        print(f"{access}: {findings}", *findings.failed, sep="\n", flush=True)
        for operation, count in sorted(findings.operations.items()):
            if not operation.endswith(" 405"):
                print(f"    {operation}: {count}")
        failed = failed or bool(findings.failed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
