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
from hookline_sql.deliveries import Deliveries
from hookline_sql.engine import make_engine
from hookline_sql.exchange import Exchanges
from hookline_sql.lines import Lines
from hookline_sql.runs import Runs
from hookline_sql.schema import Tables
from hookline_sql.servers import Servers
from hookline_sql.sessions import Sessions
from hookline_sql.statements import Prepared
from sql.builders import commit_run, statuses

SECOND_REVISION = '''
"""A step for a test."""

import sqlalchemy as sa
from alembic import context, op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    prefix = context.config.attributes["table_prefix"]
    op.add_column(f"{prefix}runs", sa.Column("color", sa.Text))
'''


def _objects(file: Path) -> dict[str, str]:
    """All tables and indexes, with their SQL."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: re.sub(r"\s+", " ", sql) for name, sql in rows}


def _connect(file: Path) -> Connection:
    return make_engine(file, synchronous="NORMAL", busy_timeout=5).connect()


async def test_migrations_and_metadata_make_the_same_schema(tmp_path: Path) -> None:
    at_once = SqliteDb(tmp_path / "at_once.db", table_prefix="some_")
    await at_once.open().close()
    with _connect(tmp_path / "in_steps.db") as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        upgrade.upgrade(connection, "some_")
        connection.commit()
    assert _objects(tmp_path / "in_steps.db") == _objects(at_once.file)
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
    (tmp_path / "migrations" / "versions" / "0002_color.py").write_text(SECOND_REVISION)
    monkeypatch.setattr(upgrade, "MIGRATIONS", tmp_path / "migrations")
    monkeypatch.setattr(schema, "HEAD", "0002")


async def test_older_database_is_brought_up_to_date(database: SqliteDb, request: pytest.FixtureRequest) -> None:
    storage = database.open()
    await commit_run(storage, 2)
    await storage.close()
    request.getfixturevalue("newer_hookline")

    with pytest.raises(StorageError, match=r"older than this version of hookline.*migrate='auto'"):
        SqliteDb(database.file, migrate="check").open()
    storage = database.open()
    assert await statuses(storage) == ["pending", "waiting"]
    await storage.close()
    assert "color" in _objects(database.file)["hookline_runs"]
    await SqliteDb(database.file, migrate="check").open().close()


async def test_failing_migration_changes_nothing(
    database: SqliteDb, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    await database.open().close()
    before = _objects(database.file)
    request.getfixturevalue("newer_hookline")
    script = tmp_path / "migrations" / "versions" / "0002_color.py"
    script.write_text(script.read_text() + "    op.add_column('nowhere', sa.Column('color', sa.Text))\n")
    with pytest.raises(StorageError, match="nowhere"):
        database.open()
    assert _objects(database.file) == before


@pytest.mark.parametrize("revision", ["0002", "9999", "banana"])
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
    assert _objects(database.file) == {}


# query plans

ALLOWED = {
    "SCAN hookline_runs USING INDEX hookline_runs_running",  # as long as what is running
    "SCAN hookline_deliveries USING INDEX hookline_deliveries_running",
    "SCAN hookline_servers",  # a row for each process
}


def _statements() -> dict[str, str]:
    tables = Tables("hookline_")
    lines, sessions = Lines(tables), Sessions(tables)
    deliveries = Deliveries(tables, lines)
    parts = (
        lines, sessions, Runs(tables, sessions, lines), Servers(tables, lines), Exchanges(tables, lines), deliveries,
    )  # fmt: skip
    found: dict[str, str] = {}
    for part in parts:
        for name, value in vars(part).items():
            if isinstance(value, Prepared):
                found[f"{type(part).__name__}{name}"] = value.sql
            elif isinstance(value, ClauseElement) and name.startswith("_") and name != "_deliveries":
                found[f"{type(part).__name__}{name}"] = _sql(value)
    filters = {
        "all": DeliveryFilter(),
        "dead": DeliveryFilter(status="dead"),
        "of a run": DeliveryFilter(run_id="run-1"),
        "of a user": DeliveryFilter(user_id="user-1"),
    }
    return found | {name: _sql(deliveries.filtered(where)) for name, where in filters.items()}


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
    assert len(plans) > 30
    scans = {name: [step for step in plan if step.startswith("SCAN")] for name, plan in plans.items()}
    assert {name: steps for name, steps in scans.items() if set(steps) - ALLOWED} == {}


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("Exchanges_due", "hookline_deliveries_due"),
        ("Exchanges_head", "hookline_deliveries_line"),
        ("Lines_promote", "hookline_deliveries_line"),
        ("Lines_release", "hookline_deliveries_line"),
        ("Servers_renew", "hookline_deliveries_running"),
        ("Servers_unlock", "hookline_sessions_active"),
        ("Servers_orphans", "hookline_runs_running"),
        ("Runs_page", "hookline_runs_session"),
        ("Sessions_history", "hookline_runs_session"),
        ("Deliveries_prune", "hookline_deliveries_finished"),
        ("dead", "hookline_deliveries_undelivered"),
        ("of a run", "hookline_deliveries_line"),
        ("of a user", "hookline_deliveries_user"),
    ],
)
def test_query_uses_its_index(plans: dict[str, list[str]], statement: str, index: str) -> None:
    assert any(f"USING INDEX {index} " in f"{step} " for step in plans[statement]), plans[statement]


@pytest.mark.parametrize("statement", ["Exchanges_due", "Sessions_history", "Runs_page", "dead", "of a user", "all"])
def test_order_comes_from_the_index(plans: dict[str, list[str]], statement: str) -> None:
    assert not any("TEMP B-TREE" in step for step in plans[statement])
