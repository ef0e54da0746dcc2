"""Finding what is tested."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest

from hookline import AgentOS, ConfigurationError, Database
from hookline.cli.loading import check_reference, find_app
from hookline.plugins import PluginRegistry

HOW = """which AgentOS is tested? Name it in pyproject.toml:

    [tool.pytest.ini_options]
    hookline_app = "app:agent_os"

or give it in conftest.py:

    @pytest.fixture
    def hookline_app():
        return AgentOS(agents=[...])
"""


def reference_of(config: pytest.Config, option: str) -> str:
    """What the option says; pytest itself may take something else than a text for it, with a warning."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            given: object = config.getini(option)
    except (TypeError, pytest.UsageError) as error:  # which of them depends on the version
        pytest.fail(str(error), pytrace=False)
    if not isinstance(given, str):
        pytest.fail(f'{option} = {given!r}: give one text, such as {option} = "app:agent_os"', pytrace=False)
    return given


def find(reference: str, directory: Path) -> Any:
    """Import what the option `hookline_app` names, as `hookline serve` does in this directory."""
    if not reference:
        pytest.fail(HOW, pytrace=False)
    _check_form(reference)
    try:
        with contextlib.chdir(directory):
            found = find_app(reference)
    except ConfigurationError as error:
        if error.__cause__ is not None:  # its traceback is wanted
            raise
        pytest.fail(f"hookline_app = {reference!r}: {error}", pytrace=False)
    return found.app or found.agent_os


def _check_form(reference: str) -> None:
    """Fail with the words of the command line, whose arguments have the same form."""
    argument = click.Argument(["hookline_app"])
    try:
        check_reference(click.Context(click.Command("pytest")), argument, reference)
    except click.BadParameter as error:
        pytest.fail(f"hookline_app = {error.message}", pytrace=False)


def parts_of(found: Any) -> tuple[AgentOS, Any]:
    """The AgentOS, and the app whose lifespan is to run; None: that of the AgentOS alone."""
    if isinstance(found, AgentOS):
        return found, None if found.base_app is None else found.get_app()
    agent_os = getattr(getattr(found, "state", None), "agent_os", None)
    if not isinstance(agent_os, AgentOS):
        pytest.fail(
            f"the fixture hookline_app gives {found!r}: an AgentOS is wanted, or an app whose state.agent_os is one",
            pytrace=False,
        )
    return agent_os, found


@cache
def sqlite() -> Callable[[str], Database]:
    """What makes a ledger of a path, whatever storage the app itself uses and whatever its settings block."""
    registry = PluginRegistry(allowed=["sql"])
    registry.load()
    return registry.storage("sqlite")
