"""This plugin's settings: `[plugins.wordguard]` in `hookline.toml`, `HOOKLINE_PLUGIN_WORDGUARD__*` as variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints
from pydantic_settings import BaseSettings

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class WordguardSettings(BaseSettings):
    """What the plugin does; without a value, nothing.

    Attributes:
        banned_words: words, or several words in a row, that no input may have; upper and lower case are the same. As
            a JSON list in a variable.
        journal: the file that gets a line for each run.
    """

    banned_words: list[Words] = []
    journal: Path | None = None
