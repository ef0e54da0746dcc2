"""The order in which plugins' hooks are called."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hookline.errors import ConfigurationError
from hookline.hooks import options_of


@dataclass(frozen=True, slots=True)
class Implementation:
    """A plugin's function for one hook point; `rank` is -1 for `tryfirst`, 1 for `trylast`, else 0."""

    function: Callable[..., Any]
    plugin: str
    hook: str
    rank: int = 0


def in_order(implementations: Iterable[Implementation]) -> list[Implementation]:
    """By `before` and `after`, and where these say nothing by rank and by the plugin's name.

    Names of plugins that are not there, or that do not implement the point, put nothing in order.

    Raises:
        ConfigurationError: the plugins' wishes form a circle; the message names them.
    """
    given = sorted(implementations, key=lambda each: (each.rank, each.plugin))
    sorter: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(len(given)), ()))
    for place, implementation in enumerate(given):
        options = options_of(implementation.function)
        for other in _places(given, options.before):
            sorter.add(other, place)
        for other in _places(given, options.after):
            sorter.add(place, other)
    try:
        sorter.prepare()
    except CycleError as error:
        names = " -> ".join(repr(given[place].plugin) for place in error.args[1])
        raise ConfigurationError(
            f"hook {given[0].hook}: before/after of the plugins form a circle: {names}; drop one of these wishes, or "
            f"disable one of the plugins"
        ) from None
    return [given[place] for place in _smallest_first(sorter)]


def _places(given: Sequence[Implementation], plugins: Sequence[str]) -> list[int]:
    return [place for place, implementation in enumerate(given) if implementation.plugin in plugins]


def _smallest_first(sorter: TopologicalSorter[int]) -> Iterable[int]:
    ready: list[int] = []
    while sorter.is_active():
        for place in sorter.get_ready():
            heapq.heappush(ready, place)
        place = heapq.heappop(ready)
        yield place
        sorter.done(place)
