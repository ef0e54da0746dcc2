"""The fixtures' short names; one that another plugin has is left to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx2

    from hookline.testing import ManualClock, Recorder, RunningAgentOS


@pytest.fixture
def agent_os(hookline_agent_os: RunningAgentOS) -> RunningAgentOS:
    """The AgentOS of `hookline_app`, running beside the test on a ledger and a clock of the test's own."""
    return hookline_agent_os


@pytest.fixture
def client(hookline_client: httpx2.Client) -> httpx2.Client:
    """An HTTP client of `agent_os`, within the process."""
    return hookline_client


@pytest.fixture
def clock(hookline_clock: ManualClock) -> ManualClock:
    """The clock of `agent_os`: `clock.advance(60)`."""
    return hookline_clock


@pytest.fixture
def recorder(hookline_recorder: Recorder) -> Recorder:
    """What happens in `agent_os`: events, runs, deliveries, calls of hooks."""
    return hookline_recorder
