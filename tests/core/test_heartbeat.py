"""Which servers are taken for dead."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hookline.execution.heartbeat import is_gone, this_server
from hookline.storage import SILENT_SECONDS, ServerRecord
from server_process import wait_until

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked at through /proc")


def server_of(process: subprocess.Popen[bytes]) -> ServerRecord:
    stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return replace(this_server(), server_id="other", pid=process.pid, pid_started=int(stat[19]))


def test_a_live_process_is_gone_only_after_its_silence() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        server = server_of(process)
        assert not is_gone(server, this_server(), server.heartbeat_at)
        assert is_gone(server, this_server(), server.heartbeat_at + SILENT_SECONDS + 1)


def test_a_killed_process_is_gone_at_once_also_before_it_is_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        server = server_of(process)
        process.kill()
        wait_until(lambda: is_gone(server, this_server(), time.time()), timeout=5, what="the end of the process")
        assert Path(f"/proc/{process.pid}/stat").exists(), "it is a zombie until it is waited for"
    assert is_gone(server, this_server(), time.time())


def test_a_pid_that_is_somebody_elses_now_is_gone() -> None:
    me = this_server()
    assert is_gone(replace(me, server_id="other", pid_started=me.pid_started - 1), me, me.heartbeat_at)


@pytest.mark.parametrize("field", ["host", "boot_id", "pid_namespace"])
def test_what_cannot_be_looked_at_is_not_taken_for_gone(field: str) -> None:
    me = this_server()
    elsewhere = replace(me, server_id="other", pid_started=1)
    setattr(elsewhere, field, "elsewhere")
    assert not is_gone(elsewhere, me, me.heartbeat_at)


def test_this_server_is_never_gone() -> None:
    me = this_server()
    assert not is_gone(me, me, me.heartbeat_at + 1000)
