"""API keys: kept as hashes, compared in constant time.

A key is long and random (`python -c "import secrets; print(secrets.token_urlsafe(32))"`): that is why a plain
SHA-256 of it is as good as unreadable.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

HASH_PREFIX = "sha256:"

_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def hash_key(key: str) -> str:
    """What is kept of a key: `sha256:` and 64 hexadecimal digits."""
    return HASH_PREFIX + hashlib.sha256(key.encode()).hexdigest()


def is_hash(text: str) -> bool:
    """Whether a text is meant as the hash of a key."""
    return text.lower().startswith(HASH_PREFIX)


def read_key(text: str) -> str:
    """The hash of a key that is given plain, or as its hash already.

    Raises:
        ValueError: it begins as a hash and is none.
    """
    if not is_hash(text):
        return hash_key(text)
    text = text.lower()
    if _HASH.fullmatch(text) is None:
        raise ValueError("the hash of a key is 'sha256:' and 64 hexadecimal digits")
    return text


class ApiKeys:
    """The keys that open a server; true if there are any.

    Args:
        hashes: what `hash_key` gives for each.
    """

    def __init__(self, hashes: Iterable[str]) -> None:
        self._digests = [bytes.fromhex(each.removeprefix(HASH_PREFIX)) for each in hashes]

    def __bool__(self) -> bool:
        return bool(self._digests)

    def hold(self, key: bytes) -> bool:
        """Whether `key` is one of them; how long that takes tells nothing about them."""
        given = hashlib.sha256(key).digest()
        found = False
        for digest in self._digests:
            found |= hmac.compare_digest(digest, given)
        return found
