"""The order in which plugins' hooks are called."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from types import ModuleType

import pytest

from hookline import ConfigurationError, hook, hookimpl
from hookline.plugins import PluginRegistry


def plugin(name: str, mark: Callable[..., object] = lambda function: function, **options: bool) -> ModuleType:
    def run_event(event: object) -> None: ...

    module = ModuleType(name)
    module.run_event = hookimpl(**options)(mark(run_event))  # type: ignore[attr-defined,call-overload]
    return module


def order(*plugins: ModuleType) -> list[str]:
    registry = PluginRegistry(allowed=[])
    registry.load(plugins)
    registry.check()
    return [each.plugin for each in registry.implementations("run_event")]


@pytest.mark.parametrize("given", list(permutations("abc")))
def test_without_wishes_it_is_the_order_of_the_names(given: tuple[str, ...]) -> None:
    assert order(*map(plugin, given)) == ["a", "b", "c"]


@pytest.mark.parametrize("given", list(permutations(range(4))))
def test_before_and_after_come_first(given: tuple[int, ...]) -> None:
    plugins = [
        plugin("a", hook(after=("d",))),
        plugin("b"),
        plugin("c", hook(before="b")),
        plugin("d", hook(after=("not-installed",))),
    ]

    assert order(*(plugins[place] for place in given)) == ["c", "b", "d", "a"]


def test_tryfirst_and_trylast_hold_where_nothing_else_is_said() -> None:
    plugins = [plugin("a", trylast=True), plugin("b"), plugin("c", tryfirst=True), plugin("d", hook(before="c"))]

    assert order(*plugins) == ["b", "d", "c", "a"]


def test_a_circle_names_the_plugins_and_the_point() -> None:
    plugins = [plugin("a", hook(before="b")), plugin("b", hook(before="c")), plugin("c", hook(before="a"))]

    with pytest.raises(ConfigurationError, match=r"hook run_event: .* form a circle: '[abc]' -> '[abc]'"):
        order(*plugins)


def test_there_is_no_order_for_a_point_that_does_not_exist() -> None:
    registry = PluginRegistry()
    registry.load()

    with pytest.raises(ConfigurationError, match="there is no hook 'pre_rum'; did you mean 'pre_run'"):
        registry.implementations("pre_rum")
