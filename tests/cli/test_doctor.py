"""`hookline doctor`: each check on what it is about, and the whole of it as a command."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from command_line import CommandLine
from fake_distributions import FakeSite
from faults import garble_table
from hookline import Agent, AgentOS, Settings
from hookline.cli.doctor import ledger
from hookline.cli.doctor.application import missing_key
from hookline.cli.doctor.environment import is_new_enough, package_findings, python_finding, sqlite_finding
from hookline.cli.doctor.file_system import NO_SPACE, file_system_finding, space_finding
from hookline.cli.doctor.finding import Finding, Verdict
from hookline.cli.doctor.ledger import examine_ledger, newest_revision
from hookline.testing import ScriptedModel
from hookline_openai import OpenAIChat, OpenAIResponses
from hookline_sql import SqliteDb

MOUNTS = r"""
/dev/vda / ext4 rw 0 0
proc /proc proc rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/data /mnt/nfs nfs4 rw 0 0
//server/x /mnt/windows cifs rw 0 0
sshfs /home/a\040b/far fuse.sshfs rw 0 0
/dev/sdb1 /mnt/usb fuseblk rw 0 0
share /mnt/share 9p rw 0 0
/dev/vdb /mnt/nfs/local xfs rw 0 0
overlay /mnt/share overlay rw 0 0
broken
"""


def make_ledger(file: Path) -> None:
    """A ledger as a server leaves it."""

    async def serve() -> None:
        agent = Agent("a", model=ScriptedModel("x"))
        async with AgentOS(agents=[agent], db=SqliteDb(file), settings=Settings(plugins=[])).lifespan():
            pass

    asyncio.run(serve())


def examined(database: SqliteDb) -> dict[str, Finding]:
    return {finding.check: finding for finding in examine_ledger(database)}


def by_check(items: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {item["check"]: item for item in items}


def set_revision(file: Path, revision: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE hookline_alembic_version SET version_num = ?", (revision,))


# Python and packages


@pytest.mark.parametrize(
    ("version", "required", "fits"),
    [
        ("3.11.7", ">=3.11", True),
        ("3.9", ">=3.11", False),
        ("2.0", ">=2.0.0", True),
        ("1.10", ">=1.9,<3", True),
        ("2.0.40rc1", "<3,>=2.0.40", True),
        ("1", "", True),
        ("0.9", "!=1", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, required: str, fits: bool) -> None:
    assert is_new_enough(version, required) is fits


def test_a_python_that_is_too_old_fails() -> None:
    finding = python_finding("3.10.2", ">=3.11")

    assert finding.verdict is Verdict.FAIL
    assert finding.mend == "make the environment with a Python >=3.11"


def test_packages_are_held_against_the_metadata() -> None:
    requirements = ["click>=8", "pluggy>=99", "no-such-package>=2", "ruff>=99; extra == 'dev'"]

    findings = list(package_findings(requirements, title="hookline 1"))

    assert [(finding.check, finding.verdict, finding.mend) for finding in findings] == [
        ("package pluggy", Verdict.FAIL, 'pip install "pluggy>=99"'),
        ("package no-such-package", Verdict.FAIL, 'pip install "no-such-package>=2"'),
    ]
    assert "but >=99 is required" in findings[0].detail
    assert [finding.verdict for finding in package_findings(["click>=8"], title="hookline 1")] == [Verdict.OK]


def test_sqlite_must_know_returning() -> None:
    assert sqlite_finding((3, 34, 1)).verdict is Verdict.FAIL
    assert sqlite_finding((3, 35, 0)).verdict is Verdict.OK


# file system


@pytest.mark.parametrize(
    ("folder", "verdict", "kind"),
    [
        ("/var/lib", Verdict.OK, "ext4"),
        ("/tmp/x", Verdict.WARN, "tmpfs"),  # noqa: S108 - no file is made
        ("/tmp-x", Verdict.OK, "ext4"),  # noqa: S108
        ("/mnt/nfs/a", Verdict.WARN, "nfs4"),
        ("/mnt/nfs/local/a", Verdict.OK, "xfs"),
        ("/mnt/windows", Verdict.WARN, "cifs"),
        ("/home/a b/far/x", Verdict.WARN, "fuse.sshfs"),
        ("/mnt/usb", Verdict.OK, "fuseblk"),
        ("/mnt/share", Verdict.OK, "overlay"),
    ],
)
def test_network_file_systems_are_warned_of(folder: str, verdict: Verdict, kind: str) -> None:
    finding = file_system_finding(Path(folder), MOUNTS)

    assert finding.verdict is verdict
    assert f" on {kind}" in finding.detail
    assert (finding.mend is None) is (verdict is Verdict.OK)


def test_a_full_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert space_finding(tmp_path).check == "disk space"
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=NO_SPACE - 1))
    assert space_finding(tmp_path).verdict is Verdict.FAIL
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=NO_SPACE))
    assert space_finding(tmp_path).verdict is Verdict.WARN


# the ledger


def test_a_ledger_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    found = examined(SqliteDb(tmp_path / "new" / "ledger.db"))

    assert found["database"].verdict is Verdict.OK
    assert "does not exist yet" in found["database"].detail
    assert "schema" not in found
    assert os.listdir(tmp_path) == []


def test_a_ledger_is_read_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.db")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    found = examined(SqliteDb(tmp_path / "ledger.db"))

    assert {check: found[check].verdict for check in ("database", "schema", "journal")} == {
        "database": Verdict.OK,
        "schema": Verdict.OK,
        "journal": Verdict.OK,
    }
    assert found["schema"].detail == f"revision {newest_revision(SqliteDb('x'))}"
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_a_ledger_in_use_is_read(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.db")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE hookline_alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute("BEGIN IMMEDIATE")

        found = examined(SqliteDb(tmp_path / "ledger.db"))

    assert "revision 9999" in found["schema"].detail  # it is in the log still


@pytest.mark.parametrize(
    ("revision", "migrate", "verdict", "mend"),
    [
        ("0000", "auto", Verdict.WARN, "back it up"),
        ("0000", "check", Verdict.FAIL, "migrate='auto'"),
        ("9999", "auto", Verdict.FAIL, "update hookline"),
    ],
)
def test_another_revision(tmp_path: Path, revision: str, migrate: Any, verdict: Verdict, mend: str) -> None:
    make_ledger(tmp_path / "ledger.db")
    set_revision(tmp_path / "ledger.db", revision)

    finding = examined(SqliteDb(tmp_path / "ledger.db", migrate=migrate))["schema"]

    assert finding.verdict is verdict
    assert mend in (finding.mend or "")


def test_a_database_without_our_tables(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE t (x)")

    found = examined(SqliteDb(tmp_path / "other.db"))

    assert found["schema"].verdict is Verdict.OK
    assert "the first start makes them" in found["schema"].detail
    assert found["journal"].verdict is Verdict.WARN
    strict = examined(SqliteDb(tmp_path / "other.db", migrate="check"))
    assert strict["schema"].verdict is Verdict.FAIL
    other_prefix = tmp_path / "ledger.db"
    make_ledger(other_prefix)
    assert "no tables" in examined(SqliteDb(other_prefix, table_prefix="x_"))["schema"].detail


def test_a_file_that_is_no_database_fails(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("some text " * 50)

    assert examined(SqliteDb(tmp_path / "ledger.db"))["schema"].verdict is Verdict.FAIL


def test_garbage_in_a_ledger_fails(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.db")
    assert examined(SqliteDb(tmp_path / "ledger.db"))["content"].detail == "no damage found"
    garble_table(tmp_path / "ledger.db", "hookline_runs")

    found = examined(SqliteDb(tmp_path / "ledger.db"))

    assert found["schema"].verdict is Verdict.OK
    assert found["content"].verdict is Verdict.FAIL
    assert f"{tmp_path / 'ledger.db'} is damaged" in found["content"].detail
    assert "\n" not in found["content"].detail
    assert found["content"].mend == "stop the server, restore the file from a backup"


def test_a_large_ledger_is_looked_through_for_a_while_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ledger(tmp_path / "ledger.db")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        connection.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY, x TEXT NOT NULL)")
        connection.executemany("INSERT INTO numbers (x) VALUES (?)", [("x",)] * 50_000)
        connection.commit()
    monkeypatch.setattr(ledger, "CHECK_SECONDS", 0.0)

    finding = examined(SqliteDb(tmp_path / "ledger.db"))["content"]

    assert finding.verdict is Verdict.OK
    assert "was not enough to see all of it" in finding.detail


def test_a_log_without_its_ledger_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "ledger.db-wal").write_bytes(b"log")

    finding = examined(SqliteDb(tmp_path / "ledger.db"))["database"]

    assert finding.verdict is Verdict.WARN
    assert "it was deleted or moved" in finding.detail
    assert "put it back before the next start" in (finding.mend or "")
    assert os.listdir(tmp_path) == ["ledger.db-wal"]


def test_a_database_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    folder = examined(SqliteDb(tmp_path))["database"]
    below = examined(SqliteDb(tmp_path / "file" / "ledger.db"))["database"]

    assert (folder.verdict, below.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert "is a folder" in folder.detail
    assert f"remove {tmp_path / 'file'}" in (below.mend or "")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_permissions_are_looked_at(tmp_path: Path) -> None:
    make_ledger(tmp_path / "ledger.db")
    (tmp_path / "ledger.db").chmod(0o444)
    assert "ledger.db cannot be written" in examined(SqliteDb(tmp_path / "ledger.db"))["database"].detail
    tmp_path.chmod(0o555)
    try:
        assert "is read-only" in examined(SqliteDb(tmp_path / "ledger.db"))["database"].detail
    finally:
        tmp_path.chmod(0o755)


# keys


class OwnModel(OpenAIChat):
    """A user's own."""


def test_a_key_is_asked_for_only_where_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_key(OpenAIChat()) == "OPENAI_API_KEY"
    assert missing_key(OpenAIResponses()) == "OPENAI_API_KEY"
    assert missing_key(OwnModel()) == "OPENAI_API_KEY"
    assert missing_key(OpenAIChat(api_key="x")) is None
    assert missing_key(ScriptedModel("x")) is None
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    assert missing_key(OpenAIChat()) is None


# the command


@pytest.fixture
def port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_a_sound_app_has_no_failure(hookline: CommandLine, app: str, port: str) -> None:
    done = hookline("doctor", "--app", app, "--port", port, "--json")

    assert done.status == 0, done.stdout
    assert done.stderr == ""
    found = by_check(done.json["items"])
    assert {check: found[check]["status"] for check in ("python", "packages", "sqlite", "plugins", "app", "port")} == {
        "python": "ok",
        "packages": "ok",
        "sqlite": "ok",
        "plugins": "ok",
        "app": "ok",
        "port": "ok",
    }
    assert found["app"] == {
        "check": "app",
        "status": "ok",
        "detail": f"{app} serves a, with 3 hooks",
        "mend": None,
    }
    assert "fastapi" in found["plugins"]["detail"]
    assert sorted(path.name for path in hookline.directory.iterdir() if path.name != "__pycache__") == ["app.py"]


def test_without_an_app_the_ledger_is_that_of_the_settings(hookline: CommandLine, port: str) -> None:
    table = hookline("doctor", "--port", port)

    assert table.status == 0, table.stdout
    assert table.stdout.splitlines()[0].split() == ["CHECK", "STATUS", "DETAIL", "MEND"]
    assert f"{hookline.directory / 'hookline.db'} does not exist yet" in table.stdout
    assert os.listdir(hookline.directory) == []


def test_a_port_in_use_fails(hookline: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = hookline("doctor", "--port", str(taken.getsockname()[1]), "--json")

    assert done.status == 1
    found = by_check(done.json["items"])["port"]
    assert (found["status"], found["mend"]) == ("fail", "choose another port with --port")


@pytest.mark.parametrize(
    ("reference", "source", "message"),
    [
        ("ap:agent_os", "", "there is no module 'ap'"),
        ("app:agent_so", "", "did you mean app:agent_os?"),
        ("plan:agent_os", "def report(run_ouput): ...\n", "'report' requires the parameter 'run_ouput'"),
        ("plan:agent_os", "raise SystemExit('bye')\n", "plan.py:3: plan ends the process when it is imported (bye)"),
    ],
)
def test_an_app_that_cannot_be_loaded_fails(
    hookline: CommandLine, app: str, port: str, reference: str, source: str, message: str
) -> None:
    hookline.write(
        "plan.py",
        f"from hookline import Agent, AgentOS\nfrom hookline_demo import DemoModel\n{source}"
        "agent_os = AgentOS(agents=[Agent('a', model=DemoModel(), post_hooks=[report])])\n",
    )

    done = hookline("doctor", "--app", reference, "--port", port, "--json")

    assert done.status == 1
    assert done.stderr == ""
    found = by_check(done.json["items"])["app"]
    assert found["status"] == "fail"
    assert message in found["detail"]


def test_a_missing_key_fails(hookline: CommandLine, app: str, port: str) -> None:
    hookline.write(
        "keyless.py",
        "from hookline import Agent, AgentOS\nfrom hookline_openai import OpenAIChat\n"
        "agent_os = AgentOS(agents=[Agent(name, model=OpenAIChat()) for name in 'ab'])\n",
    )

    done = hookline("doctor", "--app", "keyless:agent_os", "--port", port, "--json")

    assert done.status == 1
    found = by_check(done.json["items"])["api key"]
    assert found["detail"] == "OPENAI_API_KEY is not set, and agent 'a', agent 'b' needs it"
    assert found["mend"] == "export OPENAI_API_KEY=..."
    hookline.env = {"OPENAI_API_KEY": "x"}
    assert hookline("doctor", "--app", "keyless:agent_os", "--port", port).status == 0


def test_wrong_settings_fail(hookline: CommandLine, port: str) -> None:
    hookline.write("hookline.toml", "databse = 'x'\n")
    wrong_key = hookline("doctor", "--port", port, "--json")
    hookline.write(
        "hookline.toml", "transport = 'fastapy'\ndisable_plugins = ['dmeo']\n[plugins.fastapi]\naccess_log = 'x'\n"
    )
    hookline.env = {"HOOKLINE_DATABSE": "x"}
    wrong_value = hookline("doctor", "--port", port, "--json")

    assert (wrong_key.status, wrong_value.status) == (1, 1)
    assert "did you mean 'database'?" in by_check(wrong_key.json["items"])["settings"]["detail"]
    found = by_check(wrong_value.json["items"])
    assert "did you mean 'fastapi'?" in found["transport"]["detail"]
    assert "access_log" in found["settings of fastapi"]["detail"]
    assert found["settings of fastapi"]["mend"] == "correct it"
    assert "did you mean 'demo'?" in found["plugins"]["detail"]
    assert (found["settings"]["status"], found["settings"]["mend"]) == ("warn", "did you mean HOOKLINE_DATABASE?")


def test_plugins_that_are_not_active(hookline: CommandLine, site: FakeSite, port: str) -> None:
    site.install("x", "import no_such_library", requires=["no-such-library; extra == 'all'"])

    def found() -> tuple[int, dict[str, Any]]:
        done = hookline("doctor", "--port", port, "--json")
        assert done.stderr == ""
        return done.status, by_check(done.json["items"])

    status, items = found()
    assert (status, items["plugin x"]["status"]) == (0, "warn")
    assert 'pip install "fake-x[all]"' in items["plugin x"]["detail"]
    hookline.env["HOOKLINE_REQUIRED_PLUGINS"] = "x"
    assert found()[0] == 1
    hookline.env["HOOKLINE_DISABLE_PLUGINS"] = "x"
    status, items = found()
    assert (status, items["plugin x"]["status"]) == (1, "fail")
    hookline.env["HOOKLINE_REQUIRED_PLUGINS"] = ""
    status, items = found()
    assert (status, items["plugin x"]["status"]) == (0, "ok")
    hookline.env["HOOKLINE_REQUIRED_PLUGINS"] = "missing"
    status, items = found()
    assert (status, items["plugins"]["status"]) == (1, "fail")


def test_a_wrong_database_fails(hookline: CommandLine, port: str) -> None:
    hookline.env = {"HOOKLINE_DATABASE": ":memory:"}

    done = hookline("doctor", "--port", port, "--json")

    assert done.status == 1
    assert "names no file" in by_check(done.json["items"])["database"]["detail"]
