"""Connections as the operating system has them."""

from __future__ import annotations

import asyncio
import socket

from http_server import Served


def test_answers_leave_at_once(client: Served) -> None:
    """Without TCP_NODELAY each answer on a kept connection waits 40 ms for the client's acknowledgement."""
    assert client.get("/health").status_code == 200
    (connection,) = client.thread.server.server_state.connections
    transport = connection.transport
    assert isinstance(transport, asyncio.Transport)
    accepted = transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
