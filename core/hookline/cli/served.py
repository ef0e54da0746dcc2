"""The app of `hookline serve --reload`: each new process finds it here by its import string."""

from __future__ import annotations

import os
from typing import Any

from hookline.cli.loading import find_app
from hookline.environment import APP_VARIABLE


def __getattr__(name: str) -> Any:
    """Make the app that `HOOKLINE_APP` names, once this process asks for it."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = find_app(os.environ[APP_VARIABLE])
    return found.app or found.agent_os.get_app()
