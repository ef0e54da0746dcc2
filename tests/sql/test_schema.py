"""The schema: made at once or in steps, it is the same; and every query finds its index."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from hookline import StorageError
from hookline.storage import DeliveryFilter
from hookline_sql import SqliteDb, schema, upgrade
from hookline_sql.claims import Claims
from hookline_sql.deliveries import Deliveries
from hookline_sql.engine import make_engine
from hookline_sql.exchange import Exchanges
from hookline_sql.filters import Filters
from hookline_sql.hookkeys import HookKeys
from hookline_sql.lines import Lines
from hookline_sql.pruning import Pruning
from hookline_sql.replays import Replays
from hookline_sql.runs import Runs
from hookline_sql.schema import Tables
from hookline_sql.servers import Servers
from hookline_sql.sessions import Sessions
from hookline_sql.statements import PENDING, Prepared
from hookline_sql.stats import Statistics
from sql.builders import commit_run, statuses
from sql.tables import objects_of

NEXT_REVISION = f'''
"""A step for a test."""

import sqlalchemy as sa
from alembic import context, op

revision = "9000"
down_revision = "{schema.HEAD}"


def upgrade() -> None:
    prefix = context.config.attributes["table_prefix"]
    op.add_column(prefix + "runs", sa.Column("color", sa.Text))
'''


def _connect(file: Path) -> Connection:
    return make_engine(file, synchronous="NORMAL", busy_timeout=5).connect()


async def test_migrations_and_metadata_make_the_same_schema(tmp_path: Path) -> None:
    at_once = SqliteDb(tmp_path / "at_once.db", table_prefix="some_")
    await at_once.open().close()
    with _connect(tmp_path / "in_steps.db") as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        upgrade.upgrade(connection, "some_")
        connection.commit()
    assert objects_of(tmp_path / "in_steps.db") == objects_of(at_once.file)
    storage = SqliteDb(tmp_path / "in_steps.db", table_prefix="some_", migrate="check").open()
    await commit_run(storage, 2)
    await storage.close()


def test_head_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(upgrade.MIGRATIONS))
    assert scripts.get_heads() == [schema.HEAD]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True), "revisions are compared as texts"


@pytest.fixture
def newer_hookline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of hookline that has one migration more."""
    shutil.copytree(upgrade.MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations" / "versions" / "9000_color.py").write_text(NEXT_REVISION)
    monkeypatch.setattr(upgrade, "MIGRATIONS", tmp_path / "migrations")
    monkeypatch.setattr(schema, "HEAD", "9000")


async def test_older_database_is_brought_up_to_date(database: SqliteDb, request: pytest.FixtureRequest) -> None:
    storage = database.open()
    await commit_run(storage, 2)
    await storage.close()
    request.getfixturevalue("newer_hookline")

    with pytest.raises(StorageError, match=r"older than this version of hookline.*hookline db upgrade.*migrate='auto'"):
        SqliteDb(database.file, migrate="check").open()
    storage = database.open()
    assert await statuses(storage) == ["pending", "waiting"]
    await storage.close()
    assert "color" in objects_of(database.file)["hookline_runs"]
    await SqliteDb(database.file, migrate="check").open().close()


async def test_failing_migration_changes_nothing(
    database: SqliteDb, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await database.open().close()
    before = objects_of(database.file)
    request.getfixturevalue("newer_hookline")
    script = tmp_path / "migrations" / "versions" / "9000_color.py"
    script.write_text(script.read_text() + "    op.add_column('nowhere', sa.Column('color', sa.Text))\n")
    with pytest.raises(StorageError, match="nowhere"):
        database.open()
    assert objects_of(database.file) == before


@pytest.mark.parametrize("revision", ["0003", "9999", "banana"])
async def test_newer_database_is_refused(database: SqliteDb, revision: str) -> None:
    await database.open().close()
    with closing(sqlite3.connect(database.file)) as connection:
        connection.execute("UPDATE hookline_alembic_version SET version_num = ?", (revision,))
        connection.commit()
    for migrate in (database, SqliteDb(database.file, migrate="check")):
        with pytest.raises(StorageError, match=rf"'{revision}', which is newer than .* update hookline"):
            migrate.open()


def test_check_makes_no_tables(database: SqliteDb) -> None:
    checked = SqliteDb(database.file, migrate="check")
    with pytest.raises(StorageError, match="does not exist"):
        checked.open()
    assert not database.file.exists()
    sqlite3.connect(database.file).close()
    database.file.touch()
    with pytest.raises(StorageError, match="missing or older"):
        checked.open()
    assert objects_of(database.file) == {}


# query plans

ALLOWED = {
    "SCAN hookline_runs USING INDEX hookline_runs_running",  # as long as what is running
    "SCAN hookline_deliveries USING INDEX hookline_deliveries_running",
    "SCAN hookline_servers",  # a row for each process
    "SCAN anon_1",  # the latest of a hook, found before
    "SCAN anon_2",
}
FILTERS = {
    "all": DeliveryFilter(),
    "of a status": DeliveryFilter(status="dead"),
    "delivered": DeliveryFilter(status="delivered"),
    "of a run": DeliveryFilter(run_id="run-1", hook="hook", user_id="user-1", replay_id="replay-1"),
    "of a user": DeliveryFilter(user_id="user-1"),
    "delivered of a user": DeliveryFilter(user_id="user-1", status="delivered", hook="hook"),
    "dead of a user": DeliveryFilter(user_id="user-1", status="dead"),
    "of a replay": DeliveryFilter(replay_id="replay-1", user_id="user-1"),
    "of a hook": DeliveryFilter(hook="hook"),
    "of a runnable": DeliveryFilter(runnable="agent-1", created_after=1.0),
    "of a time": DeliveryFilter(created_before=1.0),
}


def _statements() -> dict[str, str]:
    tables = Tables("hookline_")
    lines, sessions, filters, claims = Lines(tables), Sessions(tables), Filters(tables), Claims(tables)
    pending_keys = HookKeys(tables.deliveries, tables.deliveries.c.status == PENDING)
    parts = (
        lines, sessions, Runs(tables, sessions, lines), Servers(tables, lines), claims, pending_keys,
        Exchanges(tables, lines, claims), Deliveries(tables, lines, filters), Statistics(tables), Pruning(tables),
        Replays(tables),
    )  # fmt: skip
    found: dict[str, str] = {}
    for part in parts:
        for name, value in vars(part).items():
            if isinstance(value, Prepared):
                found[f"{type(part).__name__}{name}"] = value.sql
            elif isinstance(value, ClauseElement) and name.startswith("_"):
                found[f"{type(part).__name__}{name}"] = _sql(value)
    return found | _filters(filters, tables)


def _filters(filters: Filters, tables: Tables) -> dict[str, str]:
    """The queries of every kind of filter, each with the order and the bounds that it is executed with."""
    found: dict[str, str] = {}
    for name, where in FILTERS.items():
        for query in filters.queries(where):
            status = query.params.get("one_status", "any")
            statement = filters.bounded(query).order_by(tables.deliveries.c.seq.desc()).limit(10)
            found[f"{name}: {status}"] = _sql(statement)
    for query in filters.queries(DeliveryFilter(status="delivered"), by_key=True):
        found["count of delivered"] = _sql(filters.bounded(query))
    return found


def _sql(statement: ClauseElement) -> str:
    return re.sub(r"\(__\[POSTCOMPILE_\w+\]\)", "(?, ?)", str(statement.compile(dialect=sqlite.dialect())))


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    file = tmp_path_factory.mktemp("plans") / "ledger.db"
    with _connect(file) as connection:
        Tables("hookline_").metadata.create_all(connection)
        connection.commit()
    with closing(sqlite3.connect(file)) as raw:
        return {
            name: [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {sql}", [None] * sql.count("?"))]
            for name, sql in _statements().items()
        }


def test_no_query_reads_a_whole_table(plans: dict[str, list[str]]) -> None:
    assert len(plans) > 100
    scans = {name: [step for step in plan if step.startswith("SCAN")] for name, plan in plans.items()}
    assert {name: steps for name, steps in scans.items() if set(steps) - ALLOWED} == {}


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("Claims_due", "hookline_deliveries_due"),
        ("Claims_interrupted", "hookline_deliveries_interrupted"),
        ("Claims_most_interrupted", "hookline_deliveries_interrupted"),
        ("Claims_head", "hookline_deliveries_line"),
        ("Claims_heads_of_hook", "hookline_deliveries_hook_due"),
        ("Claims_others_of_hook", "hookline_deliveries_hook_due"),
        ("HookKeys_next_hook", "hookline_deliveries_hook_due"),
        ("HookKeys_next_phase", "hookline_deliveries_hook_due"),
        ("HookKeys_next_runnable", "hookline_deliveries_hook_due"),
        ("Lines_promote", "hookline_deliveries_line"),
        ("Lines_release", "hookline_deliveries_line"),
        ("Servers_renew", "hookline_deliveries_running"),
        ("Servers_unlock", "hookline_sessions_active"),
        ("Servers_orphans", "hookline_runs_running"),
        ("Runs_page", "hookline_runs_session"),
        ("Sessions_history", "hookline_runs_session"),
        ("Deliveries_backlog", "hookline_deliveries_undelivered"),
        ("Pruning_count_old", "hookline_deliveries_settled"),
        ("Pruning_delete_old", "hookline_deliveries_settled"),
        ("Pruning_delete_old_attempts", "hookline_deliveries_settled"),
        ("Pruning_next_runnable", "hookline_runs_finished"),
        ("Pruning_delete_replays", "hookline_replays_status"),
        ("Pruning_old_runs", "hookline_runs_finished"),
        ("Pruning_count_runs", "hookline_runs_finished"),
        ("Statistics_counts", "hookline_deliveries_settled"),
        ("Statistics_waits", "hookline_deliveries_settled"),
        ("Statistics_durations", "hookline_deliveries_settled"),
        ("Statistics_failed", "hookline_attempts_failed"),
        ("Statistics_durations_of_open", "hookline_attempts_failed"),
        ("Replays_count", "hookline_runs_finished"),
        ("Replays_last", "hookline_runs_finished"),
        ("Replays_next_runs", "hookline_runs_finished"),
        ("Replays_make", "hookline_deliveries_line"),
        ("Replays_discard", "hookline_deliveries_replay"),
        ("Replays_page_of_status", "hookline_replays_status"),
        ("of a status: dead", "hookline_deliveries_undelivered"),
        ("of a run: any", "hookline_deliveries_line"),
        ("of a user: any", "hookline_deliveries_user"),
        ("delivered of a user: delivered", "hookline_deliveries_user"),
        ("dead of a user: dead", "hookline_deliveries_undelivered"),
        ("of a replay: waiting", "hookline_deliveries_replay"),
        ("of a replay: delivered", "hookline_deliveries_replay"),
        ("of a hook: waiting", "hookline_deliveries_undelivered"),
        ("of a hook: delivered", "hookline_deliveries_settled"),
        ("of a hook: dead", "hookline_deliveries_settled"),
        ("of a runnable: pending", "hookline_deliveries_undelivered"),
        ("of a runnable: delivered", "hookline_deliveries_settled"),
        ("of a time: delivered", "hookline_deliveries_settled"),
        ("count of delivered", "hookline_deliveries_settled"),
    ],
)
def test_query_uses_its_index(plans: dict[str, list[str]], statement: str, index: str) -> None:
    assert any(f"INDEX {index} " in f"{step} " for step in plans[statement]), plans[statement]


@pytest.mark.parametrize(
    "statement",
    [
        "Claims_due",
        "Claims_interrupted",
        "Claims_heads_of_hook",
        "Claims_others_of_hook",
        "HookKeys_next_runnable",
        "Sessions_history",
        "Runs_page",
        "Pruning_delete_old",
        "Pruning_old_runs",
        "Statistics_waits",
        "Statistics_durations",
        "Replays_last",
        "Replays_next_runs",
        "Replays_page",
        "Replays_page_of_status",
        "all: any",
        "of a status: dead",
        "delivered: delivered",
        "of a user: any",
        "delivered of a user: delivered",
        "dead of a user: dead",
        "of a replay: pending",
        "of a hook: waiting",
    ],
)
def test_order_comes_from_the_index(plans: dict[str, list[str]], statement: str) -> None:
    assert not any("TEMP B-TREE" in step for step in plans[statement]), plans[statement]


@pytest.mark.parametrize(
    "statement",
    [
        "Deliveries_backlog", "Pruning_count_old", "Statistics_counts",
        "of a hook: delivered", "of a runnable: delivered", "of a time: delivered", "count of delivered",
    ],
)  # fmt: skip
def test_index_alone_answers(plans: dict[str, list[str]], statement: str) -> None:
    assert any("USING COVERING INDEX" in step for step in plans[statement]), plans[statement]
