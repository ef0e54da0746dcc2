"""Ids that people choose: of sessions and users, the same over HTTP and on the command line."""

from __future__ import annotations

import re

ID_ALPHABET = "letters, digits and . _ ~ : @ + = | -"
"""What an id is made of, in words: characters that need no escape in a URL's path, in a log line or in a shell."""

ID_PATTERN = r"(\.{0,2}[A-Za-z0-9_~:@+=|-]|\.{3})[A-Za-z0-9._~:@+=|-]*"
"""The same as a regular expression, for all that is neither `.` nor `..`, which mean something in a path."""

_ID = re.compile(ID_PATTERN)


def is_id(text: str) -> bool:
    """Whether this can be the id of anything here."""
    return _ID.fullmatch(text) is not None
