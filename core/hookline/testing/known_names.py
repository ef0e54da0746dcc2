"""The names that a test may ask for: a misspelt one finds nothing, and a test that expects nothing would pass."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from hookline.agent_os import AgentOS
from hookline.deliveries import DeliveryStatus
from hookline.errors import ConfigurationError

RECORDED_POINTS = ("pre_model", "post_model", "pre_tool", "post_tool")
"""Points of plugins whose calls are written down as those of hooks are."""


def check_hook(agent_os: AgentOS, hook: str, seen: Iterable[str] = ()) -> None:
    """Check that there is a hook of that name.

    Args:
        agent_os: whose plans are asked, loaded.
        hook: the name.
        seen: names of hooks that are known otherwise.

    Raises:
        ConfigurationError: there is none; the message has the name that was meant, or all of them.
    """
    known = {item.name for runnable in agent_os.runnables.values() for item in agent_os.plan_of(runnable).items}
    for point in RECORDED_POINTS:
        known.update(f"{each.plugin}.{point}" for each in agent_os.registry.implementations(point))
    _check("hook", hook, sorted(known.union(seen)))


def check_status(status: str) -> None:
    """Check that a delivery can have that status.

    Raises:
        ConfigurationError: it cannot; the message has the one that was meant, or all of them.
    """
    _check("status of deliveries", status, [each.value for each in DeliveryStatus])


def _check(what: str, name: str, known: list[str]) -> None:
    if name in known:
        return
    # a plugin's hook is called PLUGIN.function, a function within a test test_it.<locals>.function
    near = [each for each in known if each.endswith(f".{name}")] or get_close_matches(name, known, n=1)
    if near:
        mend = f"did you mean {near[0]!r}?"
    else:
        mend = f"there is {', '.join(map(repr, known))}" if known else "there is none at all"
    raise ConfigurationError(f"there is no {what} {name!r}: {mend}")
