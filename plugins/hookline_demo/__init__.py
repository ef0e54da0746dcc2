"""A model that needs no key and no network: for trying hookline out, and for tests.

from hookline_demo import DemoModel

agent = Agent(name="Demo", model=DemoModel(), tools=[roll_a_die])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hookline import Model, hookimpl
from hookline_demo.model import DemoModel

__all__ = ["DemoModel"]


@hookimpl
def models() -> Mapping[str, Callable[[str], Model]]:
    """Offer `demo`: a demo model of the id that is asked for."""
    return {"demo": DemoModel}
