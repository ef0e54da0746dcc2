"""Addresses: which names and numbers mean this machine alone."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address


@lru_cache(maxsize=32)  # a server is asked about the same few for every request
def is_ip_address(host: str) -> bool:
    """Whether this is an IPv4 or IPv6 address in numbers, without brackets."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


@lru_cache(maxsize=32)
def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the host: `localhost`, 127.0.0.0/8 or ::1."""
    return host == "localhost" or (is_ip_address(host) and ip_address(host).is_loopback)
