"""Plugins that cannot be used, each in its own way, and what hookline must say of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from package.installed import write_wheel


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """One of them.

    Attributes:
        distribution: the distribution that brings it.
        plugin: its name.
        source: its module's code.
        state: what it is listed as.
        reason: a part of the reason that the listing gives.
        metadata: more lines of its distribution's metadata.
    """

    distribution: str
    plugin: str
    source: str
    state: str
    reason: str
    metadata: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Its module."""
        return self.distribution.replace("-", "_")

    def write(self, folder: Path) -> Path:
        """Write its wheel."""
        return write_wheel(
            folder,
            distribution=self.distribution,
            plugin=self.plugin,
            module=self.module,
            source=self.source,
            metadata=self.metadata,
        )


def _hook(definition: str) -> str:
    return f"from hookline import hookimpl\n\n\n@hookimpl\n{definition}\n"


GOOD = _hook("def pre_run(run_input):\n    raise RuntimeError('a refused plugin was called')")

BROKEN = [
    BrokenPlugin(
        "hookline-crash",
        "crash",
        "raise RuntimeError('no luck')\n",
        "failed",
        "importing hookline_crash raised RuntimeError: no luck",
    ),
    BrokenPlugin(
        "hookline-misspelt",
        "misspelt",
        _hook("def post_rum(run_output): ..."),
        "refused",
        "there is no hook 'post_rum'; did you mean 'post_run'?",
    ),
    BrokenPlugin(
        "hookline-by-agent",
        "by-agent",
        _hook("def post_run(run_output, agent): ..."),
        "refused",
        "post_run names the argument 'agent': a plugin's hook is called for every kind of runnable, so name 'runnable'",
    ),
    BrokenPlugin(
        "hookline-no-extra",
        "no-extra",
        "import no_such_library_1\n",
        "unavailable",
        ': pip install "hookline-no-extra[chat]"',
        ("Provides-Extra: chat", "Requires-Dist: no-such-library-1>=2; extra == 'chat'"),
    ),
    BrokenPlugin(
        "hookline-hookless",
        "hookless",
        "def pre_run(run_input): ...\n",
        "refused",
        "it has no hooks: mark pre_run with @hookimpl",
    ),
    BrokenPlugin("hookline-twin-one", "twin", GOOD, "refused", "'twin' is also taken by hookline-twin-two"),
    BrokenPlugin("hookline-twin-two", "twin", GOOD, "refused", "'twin' is also taken by hookline-twin-one"),
    BrokenPlugin("aaa-demo", "demo", GOOD, "refused", "belongs to a plugin that comes with hookline"),
]
