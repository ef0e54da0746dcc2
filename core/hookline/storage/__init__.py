"""Storage: the ledger's operations, as a storage plugin implements them.

Every operation is whole: it happens entirely, in one transaction, or not at all; it takes and gives plain data.
No connection or transaction crosses this border. All methods may be awaited from any event loop of the process.
Instants are seconds since the epoch, given by the caller.

**Lines and fences.** The deliveries of one run form a line, in the order of `position`. Rows are stored `waiting`;
the first in line is made `pending` once its run is finished, the next as soon as its predecessor has left the line
(settled, or out of line because it must wait: backoff, parked, delayed). A row's `fence` grows by one whenever
somebody takes it: who names an older fence has lost it, and what they say of it is ignored.
"""

from hookline.storage.protocol import Database, RunStorage, Storage, Upgradable
from hookline.storage.records import (
    LEASE_SECONDS,
    RESERVE_SECONDS,
    SILENT_SECONDS,
    Attempt,
    AttemptOutcome,
    ClaimedDelivery,
    DeliveryFilter,
    DeliveryRecord,
    Exchange,
    FinishRun,
    HookStats,
    LockedSession,
    NewDelivery,
    Page,
    Prune,
    Pruned,
    ReplayRecord,
    ReplayStatus,
    RunRecord,
    ServerRecord,
    SessionLock,
    Settlement,
    Start,
    TakeOver,
)

__all__ = [
    "LEASE_SECONDS",
    "RESERVE_SECONDS",
    "SILENT_SECONDS",
    "Attempt",
    "AttemptOutcome",
    "ClaimedDelivery",
    "Database",
    "DeliveryFilter",
    "DeliveryRecord",
    "Exchange",
    "FinishRun",
    "HookStats",
    "LockedSession",
    "NewDelivery",
    "Page",
    "Prune",
    "Pruned",
    "ReplayRecord",
    "ReplayStatus",
    "RunRecord",
    "RunStorage",
    "ServerRecord",
    "SessionLock",
    "Settlement",
    "Start",
    "Storage",
    "TakeOver",
    "Upgradable",
]
