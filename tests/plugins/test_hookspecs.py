"""The page that plugin authors read first: complete, true, and its examples run."""

from __future__ import annotations

import inspect
import re
import textwrap
from types import ModuleType

import pytest

from hookline import hookspecs
from hookline.plugins import PluginRegistry
from hookline.plugins.checking import read_specs

SPECS = sorted(read_specs(hookspecs))


def test_all_points_are_there() -> None:
    assert (
        sorted(
            [
                *("pre_run", "post_run", "run_event", "pre_model", "post_model", "pre_tool", "post_tool"),
                *("schedule_background", "delivery_finished"),
                *("storages", "models", "transports"),
                *("authenticate", "lifespan", "commands", "hookspecs"),
            ]
        )
        == SPECS
    )


@pytest.mark.parametrize("name", SPECS)
def test_a_point_tells_its_arguments_order_and_errors(name: str) -> None:
    function = getattr(hookspecs, name)
    text = inspect.getdoc(function) or ""

    assert "Called" in text or "Entered" in text
    assert "\nOrder: " in text
    assert "\nErrors: " in text
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"^    {argument}: ", text, re.MULTILINE), f"{name} does not tell of {argument}"


@pytest.mark.parametrize("name", SPECS)
def test_the_example_of_a_point_is_a_plugin(name: str) -> None:
    text = inspect.getdoc(getattr(hookspecs, name)) or ""
    found = re.search(r"```python\n(.*?)\n *```", text, re.DOTALL)
    assert found is not None
    plugin = ModuleType(f"example_{name}")
    exec(compile(textwrap.dedent(found[1]), plugin.__name__, "exec"), plugin.__dict__)  # noqa: S102 - our own text

    registry = PluginRegistry(allowed=[])
    registry.load([plugin])
    registry.check()

    assert [each.hooks for each in registry.plugins if each.name == plugin.__name__] == [[name]]
