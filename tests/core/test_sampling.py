"""Sampling: the run's id decides, everywhere alike."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import uuid
from typing import Any

import pytest

from core_support import agent, complete, deliveries_of, serving, stored_run
from hookline import RunOutput, hook
from hookline.execution import live_run
from hookline.jsontext import loads
from hookline.sampling import in_sample, sample_point
from hookline_sql import SqliteDb

RUN_ID = "0d9c2c50-8a3d-4b62-9a5c-6f6f5f2a8d11"


def some_ids(count: int) -> list[str]:
    return [str(uuid.UUID(int=number * 7919)) for number in range(count)]


# the decision


def test_the_formula_is_the_documented_one() -> None:
    first = hashlib.sha256(RUN_ID.encode()).hexdigest()[:16]
    assert sample_point(RUN_ID) == int(first, 16) == 697_301_304_965_926_157
    share = sample_point(RUN_ID) / 2**64
    assert not in_sample(sample_point(RUN_ID), share - 1e-9)
    assert in_sample(sample_point(RUN_ID), share + 1e-9)


def test_another_process_decides_alike() -> None:
    """Python's own `hash()` would not."""
    ids = some_ids(50)
    code = (
        "import sys; from hookline.sampling import in_sample, sample_point; "
        "print([in_sample(sample_point(each), 0.3) for each in sys.argv[1:]])"
    )
    done = subprocess.run([sys.executable, "-c", code, *ids], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([in_sample(sample_point(each), 0.3) for each in ids])


@pytest.mark.parametrize("point", [0, 1, 2**63, 2**64 - 2, 2**64 - 1])
def test_nothing_and_everything_are_exact(point: int) -> None:
    assert not in_sample(point, 0.0)
    assert in_sample(point, 1.0)


def test_a_larger_share_holds_the_smaller_ones() -> None:
    points = [sample_point(each) for each in some_ids(2000)]
    chosen = [{point for point in points if in_sample(point, share)} for share in (0.0, 0.01, 0.1, 0.5, 0.99, 1.0)]
    for smaller, larger in itertools.pairwise(chosen):
        assert smaller < larger
    assert [len(each) for each in chosen] == [0, 19, 209, 1010, 1982, 2000], "about the share, and the same for ever"


# runs


def noting(seen: list[str], name: str, **options: Any) -> Any:
    @hook(name=name, **options)
    def note(run_context: Any) -> None:
        seen.append(f"{name} {run_context.run_id}")

    return note


def noting_delivery(seen: list[str], name: str, **options: Any) -> Any:
    @hook(name=name, run_in_background=True, **options)
    def note(run_output: RunOutput) -> None:
        seen.append(f"{name} {run_output.run_id}")

    return note


async def test_inline_and_background_hooks_of_one_share_see_the_same_runs(db: SqliteDb) -> None:
    seen: list[str] = []
    served = agent(
        pre_hooks=[noting(seen, "pre", sample=0.5)],
        post_hooks=[noting(seen, "post", sample=0.5), noting_delivery(seen, "delivery", sample=0.5)],
    )
    async with serving(served, db=db) as agent_os:
        outputs = [await complete(agent_os, served) for _ in range(24)]
        recorded = {
            output.run_id: (
                [call["hook"] for call in loads((await stored_run(agent_os, output.run_id)).hook_calls)],
                [each.delivery.hook for each in await deliveries_of(agent_os, output.run_id)],
            )
            for output in outputs
        }
    ids = [output.run_id for output in outputs]
    chosen = [each for each in ids if in_sample(sample_point(each), 0.5)]
    assert sorted(seen) == sorted(f"{name} {each}" for each in chosen for name in ("pre", "post", "delivery"))
    for run_id, record in recorded.items():
        assert record == ((["pre", "post"], ["delivery"]) if run_id in chosen else ([], [])), "no trace of the others"


@pytest.mark.parametrize(("share", "calls"), [(0, 0), (1, 3)])
async def test_none_and_all(share: float, calls: int, db: SqliteDb) -> None:
    seen: list[str] = []
    hooks = [noting(seen, "post", sample=share), noting_delivery(seen, "delivery", sample=share)]
    served = agent(post_hooks=hooks)
    async with serving(served, db=db) as agent_os:
        for _ in range(3):
            await complete(agent_os, served)
    assert len(seen) == 2 * calls


async def test_a_retry_decides_nothing_anew(db: SqliteDb, short_backoff: None) -> None:
    attempts: list[str] = []

    @hook(run_in_background=True, sample=0.5, retries=3, backoff=0)
    def flaky(run_output: RunOutput) -> None:
        attempts.append(run_output.run_id)
        if attempts.count(run_output.run_id) < 3:
            raise ConnectionError("not yet")

    served = agent(post_hooks=[flaky])
    async with serving(served, db=db) as agent_os:
        for _ in range(8):
            await complete(agent_os, served)
        chosen = [each for each in set(attempts) if in_sample(sample_point(each), 0.5)]
        for run_id in chosen:
            while attempts.count(run_id) < 3:
                await agent_os.drain()
    assert sorted(attempts) == sorted(chosen * 3)


async def test_a_run_is_hashed_once_and_only_where_somebody_samples(
    db: SqliteDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def counted(run_id: str) -> int:
        hashed.append(run_id)
        return sample_point(run_id)

    monkeypatch.setattr(live_run, "sample_point", counted)
    seen: list[str] = []
    plain = agent(id="plain", pre_hooks=[noting(seen, "x")], post_hooks=[noting_delivery(seen, "y", sample=1)])
    sampled = agent(pre_hooks=[noting(seen, str(number), sample=0.5) for number in range(5)])
    async with serving(plain, sampled, db=db) as agent_os:
        await complete(agent_os, plain)
        assert hashed == []
        output = await complete(agent_os, sampled)
    assert hashed == [output.run_id]


async def test_the_settings_change_the_share(db: SqliteDb) -> None:
    seen: list[str] = []
    served = agent(post_hooks=[noting(seen, "never", sample=1), noting(seen, "always", sample=0)])
    hooks = {"a/post/never": {"sample": 0}, "a/post/always": {"sample": 1}}
    async with serving(served, db=db, settings={"hooks": hooks}) as agent_os:
        output = await complete(agent_os, served)
    assert seen == [f"always {output.run_id}"]


async def test_without_an_agent_os_the_mark_holds() -> None:
    seen: list[str] = []
    alone = agent(post_hooks=[noting(seen, "none", sample=0), noting(seen, "half", sample=0.5)])
    outputs = [await alone.arun("hi") for _ in range(12)]
    assert seen == [f"half {each.run_id}" for each in outputs if in_sample(sample_point(each.run_id), 0.5)]
