"""All that a ledger holds, as far as the protocol shows it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hookline.storage import LEASE_SECONDS, SILENT_SECONDS, DeliveryFilter, Exchange, SessionLock, Storage, TakeOver
from hookline.testing.storage_contract.builders import NOW

_ALL = 10_000
_FAR = NOW + 1_000_000


async def state_of(storage: Storage) -> dict[str, Any]:
    """What is there, as plain data that can be compared with another ledger's.

    Locks, leases and fences show only by what can be done: they are tried in the end, so the ledger is another then.
    """
    sessions = (await storage.list_sessions(user_id=None, limit=_ALL, cursor=None)).items
    runs = [
        run
        for session in sessions
        for run in (await storage.list_runs(session.session_id, limit=_ALL, cursor=None)).items
    ]
    listed = (await storage.list_deliveries(DeliveryFilter(), limit=_ALL, cursor=None)).items
    run_ids = sorted({record.delivery.run_id for record in listed})
    deliveries = {run_id: await storage.run_deliveries(run_id) for run_id in run_ids}
    state: dict[str, Any] = {
        "sessions": [asdict(session) for session in sessions],
        "runs": [asdict(run) for run in runs],
        "deliveries": {run_id: [asdict(record) for record in records] for run_id, records in deliveries.items()},
        "listed": len(listed),
        "servers": [asdict(server) for server in await storage.list_servers()],
        "replays": [
            asdict(replay) for replay in (await storage.list_replays(status=None, limit=_ALL, cursor=None)).items
        ],
        "statistics": [asdict(stats) for stats in await storage.hook_stats(0.0)],
        "orphans": [run.run_id for run in await storage.list_orphans([])],
    }
    return _without_random_ids({**state, **await _tried(storage, [session.session_id for session in sessions])})


async def _tried(storage: Storage, session_ids: list[str]) -> dict[str, Any]:
    locked = [
        session_id
        for session_id in session_ids
        if await storage.lock_session(SessionLock(session_id, None, "tried", "tried", NOW)) is None
    ]
    expired = NOW + SILENT_SECONDS - LEASE_SECONDS + LEASE_SECONDS + 0.1
    leases = [await storage.take_over(TakeOver("tried", [], at)) for at in (expired, expired + 50)]
    claims = await storage.exchange(Exchange("tried", _FAR, scan=True, limit=_ALL))
    fences = sorted((claim.delivery.run_id, claim.delivery.position, claim.fence) for claim in claims)
    return {"locked": locked, "leases": leases, "fences": fences}


def _without_random_ids(state: dict[str, Any]) -> dict[str, Any]:
    """The ids of a replay's deliveries are the storage's own choice."""
    for records in state["deliveries"].values():
        for record in records:
            if record["delivery"]["replay_id"] is not None:
                record["delivery"]["delivery_id"] = "any"
    return state
