"""The public names, and what importing them costs."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import types

import pytest

import hookline

HEAVY = (
    "fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "openai", "httpx2", "pydantic_settings", "click",
    "rich", "pydantic", "hookline_fastapi", "hookline_sql", "hookline_openai", "hookline_demo",
)  # fmt: skip

HELPERS = {"TYPE_CHECKING", "Any", "annotations"}
"""What the package's own source imports, and no name of its own."""


def python(code: str) -> str:
    """What a fresh interpreter prints; compiled modules are kept and used, as for any installed package."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def visible_in_a_fresh_process() -> dict[str, bool]:
    """The names that `dir()` shows after `import hookline`; whether each is a module."""
    code = (
        "import hookline, json, types;"
        "print(json.dumps({n: isinstance(getattr(hookline, n), types.ModuleType) for n in dir(hookline)}))"
    )
    visible: dict[str, bool] = json.loads(python(code))
    return visible


def test_all_is_what_is_visible() -> None:
    visible = {
        name for name, is_module in visible_in_a_fresh_process().items() if not is_module and not name.startswith("_")
    }
    assert visible - HELPERS == set(hookline.__all__)


def test_all_is_sorted_and_has_no_name_twice() -> None:
    def capitals_first(name: str) -> tuple[bool, str]:
        return (not name[0].isupper(), name)

    assert sorted(hookline.__all__, key=capitals_first) == sorted(set(hookline.__all__), key=capitals_first)
    assert [name for name in hookline.__all__ if name[0].islower()] == sorted(
        name for name in hookline.__all__ if name[0].islower()
    )


@pytest.mark.parametrize("name", hookline.__all__)
def test_every_public_name_can_be_imported_and_says_what_it_is(name: str) -> None:
    value = getattr(hookline, name)
    assert value is getattr(importlib.import_module("hookline"), name)
    if isinstance(value, type | types.FunctionType):
        assert value.__doc__, f"hookline.{name} has no docstring"
        assert value.__module__.startswith("hookline")


def test_the_names_of_the_contract_are_there() -> None:
    contract = (
        "Agent AgentOS RunInput RunOutput RunContext RunStatus Session Message Delivery Settings hook guardrail "
        "Guardrail hookimpl tool InputCheckError OutputCheckError HooklineError"
    )
    assert set(contract.split()) <= set(hookline.__all__)


def test_every_exception_has_the_one_root() -> None:
    errors = [getattr(hookline, name) for name in hookline.__all__ if name.endswith("Error") and name != "RunError"]
    assert len(errors) > 10
    assert all(issubclass(error, hookline.HooklineError) for error in errors)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Agnet'"):
        _ = hookline.Agnet


@pytest.mark.parametrize("module", ["hookline", "hookline.testing", "hookline_sql", "hookline_openai", "hookline_demo"])
def test_importing_pulls_in_nothing_heavy(module: str) -> None:
    own = {module.partition(".")[0]}
    loaded = set(json.loads(python(f"import {module}, json, sys; print(json.dumps(sorted(sys.modules)))")))
    assert loaded & set(HEAVY) - own == set()


def test_importing_hookline_costs_at_most_three_times_what_pydantic_costs() -> None:
    """Each pair is measured side by side, and the median taken: the machine may be busy."""

    def seconds(module: str) -> float:
        code = f"import time; t = time.process_time(); import {module}; print(time.process_time() - t)"
        return float(python(code))

    seconds("hookline")
    seconds("pydantic")
    ratios = [seconds("hookline") / seconds("pydantic") for _ in range(7)]
    assert statistics.median(ratios) <= 3, ratios
