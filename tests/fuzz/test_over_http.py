"""Schemathesis against a real server: nothing undocumented, no schema violation, no server error but the model's."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.over_http import ACCESSES, fuzz

pytestmark = [pytest.mark.process, pytest.mark.timeout(400)]

SEED = 20_261_121
CASES = 2000 // len(ACCESSES) + 1


@pytest.mark.parametrize("access", ACCESSES)
def test_fuzzing_finds_nothing(tmp_path: Path, access: str) -> None:
    findings = fuzz(tmp_path, access, cases=CASES, seed=SEED)
    print(f"{access}, seed {SEED}: {findings}")
    assert not findings.failed, "\n".join(findings.failed)
    assert findings.cases >= CASES
    # These statuses tell that runs were really started, walked on from, and refused.
    assert {200, 202, 404, 405, 409, 415, 422, 502} <= findings.statuses.keys()
    assert {401} & findings.statuses.keys() == (set() if access == "open" else {401})
    walked = {operation.rpartition(" ")[0] for operation in findings.operations if operation.endswith(" 200")}
    assert {
        "POST /agents/{agent_id}/runs",
        "GET /runs/{run_id}",
        "GET /runs/{run_id}/hooks",
        "GET /deliveries/{delivery_id}",
        "GET /sessions/{session_id}",
    } <= walked
    assert ("POST /deliveries/{delivery_id}/redrive" in walked) is (access != "user")


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("ignored-auth", "API accepts requests without authentication"),
        ("undocumented-status", "Undocumented status code"),
        ("another-shape", "Response violates schema"),
        ("server-error", "Server error"),
    ],
)
def test_fuzzing_notices_a_defect(tmp_path: Path, defect: str, said: str) -> None:
    findings = fuzz(tmp_path, "key", cases=1, seed=SEED, phases="coverage", path="/agents", defect=defect)
    assert said in "\n".join(findings.failed)
