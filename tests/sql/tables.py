"""What is in a database file, looked at past hookline."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path


def objects_of(file: Path) -> dict[str, str]:
    """All tables and indexes with their SQL, the white space in it made alike."""
    with closing(sqlite3.connect(file)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: re.sub(r"\s*,\s*", ", ", re.sub(r"\s+", " ", sql)) for name, sql in rows}
