"""A clock that is set back an hour: instants come from the callers, so nothing is lost, and nothing is held twice."""

from __future__ import annotations

from collections.abc import Sequence

from hookline.storage import LEASE_SECONDS, ClaimedDelivery, Exchange, FinishRun, Start, Storage, TakeOver
from sql.builders import (
    DUE,
    ME,
    NOW,
    OTHER,
    Server,
    commit_run,
    completed,
    delivery,
    failed,
    ids_of,
    lock_of,
    new_deliveries,
    new_run,
    outcomes,
    server_of,
    settlement_of,
    statuses,
)

HOUR = 3600.0
BACK = NOW - HOUR


async def test_claimed_delivery_is_not_claimed_again_when_the_clock_goes_back(storage: Storage) -> None:
    await commit_run(storage, 2)
    [claimed] = await Server(storage).scan()
    other = Server(storage, OTHER)
    for now in (BACK, NOW, DUE, DUE + LEASE_SECONDS - 1):
        assert await other.scan(now=now) == []
        assert await other.claim("run-1", now=now) == []
    await Server(storage, now=BACK).settle(settlement_of("run-1:0", claimed.fence, started_at=BACK))
    assert await statuses(storage) == ["delivered", "pending"]


async def test_beat_of_a_clock_that_went_back_keeps_the_lease(storage: Storage) -> None:
    await storage.beat(server_of())
    await commit_run(storage, 1)
    [claimed] = await Server(storage).scan()
    await storage.beat(server_of(heartbeat_at=BACK))
    [server] = await storage.list_servers()
    assert server.heartbeat_at == BACK, "what others judge a silence by is this server's own clock"
    assert await Server(storage, OTHER).scan(now=BACK + LEASE_SECONDS - 1) == []
    await Server(storage, now=BACK + 1).settle(settlement_of("run-1:0", claimed.fence))
    assert await statuses(storage) == ["delivered"]


async def test_server_taken_for_silent_by_a_clock_ahead_cannot_settle(storage: Storage) -> None:
    """Two clocks an hour apart: the delivery is given to one of the two, whatever they think of each other."""
    await storage.beat(server_of(heartbeat_at=BACK))
    await commit_run(storage, 1, now=BACK)
    [mine] = await Server(storage, now=BACK).scan(now=BACK + 10)
    assert await storage.take_over(TakeOver(OTHER, [ME], NOW, max_interruptions=3)) == 1
    [theirs] = await Server(storage, OTHER).scan(now=NOW)
    assert theirs.fence > mine.fence
    await Server(storage, now=BACK + 20).settle(settlement_of("run-1:0", mine.fence))
    assert await statuses(storage) == ["running"]
    await Server(storage, OTHER, now=NOW + 1).settle(settlement_of("run-1:0", theirs.fence))
    assert await statuses(storage) == ["delivered"]
    assert [outcome for _, outcome in await outcomes(storage, "run-1:0")] == ["interrupted", "delivered"]


async def test_backoff_set_before_the_clock_went_back_is_kept_and_ends(storage: Storage) -> None:
    await commit_run(storage, 1)
    [claimed] = await Server(storage).scan()
    await Server(storage).settle(failed("run-1:0", claimed.fence, due_at=NOW + 30))
    assert await Server(storage).scan(now=BACK) == []
    [again] = await Server(storage).scan(now=NOW + 30)
    assert again.delivery.attempt_count == 2


async def test_person_makes_due_at_once_what_a_clock_has_put_off(storage: Storage) -> None:
    """What was committed before the clock went back waits for the old time; the line of a run can be released."""
    await commit_run(storage, 2)
    assert await Server(storage).scan(now=BACK) == []
    await storage.release_line("run-1", BACK)
    assert ids_of(await Server(storage).scan(now=BACK)) == ["run-1:0"]


async def test_line_keeps_its_order_across_the_step(storage: Storage) -> None:
    await commit_run(storage, 3)
    order: list[str] = []
    now = DUE
    for step in range(3):
        [claimed] = await Server(storage).claim("run-1", now=now)
        order.append(claimed.delivery.delivery_id)
        now = BACK + step
        await Server(storage, now=now).settle(settlement_of(order[-1], claimed.fence, started_at=now))
    assert order == ["run-1:0", "run-1:1", "run-1:2"]
    assert await statuses(storage) == ["delivered"] * 3


async def test_delivery_begun_in_memory_is_settled_after_the_step(storage: Storage) -> None:
    await commit_run(storage, 2)
    await storage.exchange(Exchange(ME, NOW, starts=[Start("run-1:0", 0)]))
    await storage.exchange(
        Exchange(ME, BACK, settlements=[settlement_of("run-1:0", 1), settlement_of("run-1:1", 0, started=False)])
    )
    assert await statuses(storage) == ["delivered", "delivered"]
    assert (await delivery(storage, "run-1:1")).delivery.attempt_count == 1


async def test_run_finished_before_it_was_accepted_is_stored(storage: Storage) -> None:
    run = new_run()
    assert await storage.lock_session(lock_of()) is not None
    await storage.accept_run(run, [])
    done = completed(run, finished_at=BACK)
    assert await storage.finish_run(FinishRun(done, True, new_deliveries(1), '{"n":1}', BACK))
    found = await storage.get_run("run-1")
    assert found is not None
    assert (found.status, found.created_at, found.finished_at) == ("completed", NOW, BACK)
    locked = await storage.lock_session(lock_of("run-2", now=BACK))
    assert locked is not None
    assert locked.state == '{"n":1}'


async def test_session_is_held_by_one_run_across_the_step(storage: Storage) -> None:
    assert await storage.lock_session(lock_of()) is not None
    for now in (BACK, NOW, NOW + HOUR):
        assert await storage.lock_session(lock_of("run-2", now=now)) is None
    await storage.unlock_session("session-1", "run-1")
    assert await storage.lock_session(lock_of("run-2", now=BACK)) is not None


async def test_nothing_is_begun_twice_while_two_clocks_disagree(storage: Storage) -> None:
    for number in range(10):
        await commit_run(storage, 2, f"run-{number}", now=NOW if number % 2 else BACK)
    begun: list[str] = []
    servers = {ME: NOW + 10, OTHER: BACK + 10}
    for _ in range(20):
        for server_id, now in servers.items():
            claimed: Sequence[ClaimedDelivery] = await Server(storage, server_id).scan(3, now=now)
            begun += ids_of(claimed)
            done = [settlement_of(each.delivery.delivery_id, each.fence) for each in claimed]
            await Server(storage, server_id, now).settle(*done)
            servers[server_id] = now + 5
    assert len(begun) == len(set(begun)) == 20
    for number in range(10):
        assert await statuses(storage, f"run-{number}") == ["delivered", "delivered"]
