"""Whether a server could listen at an address: found out before anything is opened."""

from __future__ import annotations

import errno
import socket

from hookline.cli.trouble import Trouble

_MENDS = {
    errno.EADDRINUSE: "choose another port with --port",
    errno.EACCES: "choose a port above 1023 with --port",
}


def find_address_trouble(host: str, port: int) -> Trouble | None:
    """Why the port cannot be had at that host; None if it can, or if only listening itself will tell."""
    if port == 0:
        return None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError:  # the server says what is wrong with the host
        return None
    for family, *_, address in addresses:
        try:
            _bind(family, address)
        except OSError as error:
            if mend := _MENDS.get(error.errno or 0):
                return Trouble(f"cannot listen on {host}:{port}: {error.strerror}", mend)
    return None


def _bind(family: int, address: tuple[object, ...]) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
