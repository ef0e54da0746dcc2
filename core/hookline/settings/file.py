"""The file `hookline.toml` in the working directory."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hookline.errors import ConfigurationError

SETTINGS_FILE = "hookline.toml"


def read_file() -> dict[str, Any]:
    """All that is in the file; nothing if there is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    path = Path(SETTINGS_FILE)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
