"""Installed distributions, as an installer leaves them: a module and a `.dist-info` folder on the path."""

from __future__ import annotations

import importlib
import textwrap
from collections.abc import Sequence
from pathlib import Path


class FakeSite:
    """A folder on the path into which distributions are put."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: list[str] = []

    def module(self, name: str, source: str) -> None:
        """Write a module."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source))
        self.modules.append(name)
        importlib.invalidate_caches()

    def install(
        self,
        name: str,
        source: str = "",
        *,
        distribution: str | None = None,
        module: str | None = None,
        version: str = "1.2",
        requires: Sequence[str] = (),
    ) -> None:
        """Install a plugin: its module `fake_NAME`, its distribution and its entry point."""
        module = module or f"fake_{name}"
        distribution = distribution or f"fake-{name}"
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        lines = ["Metadata-Version: 2.3", f"Name: {distribution}", f"Version: {version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in requires]
        (info / "METADATA").write_text("\n".join(lines) + "\n")
        (info / "entry_points.txt").write_text(f"[hookline]\n{name} = {module}\n")
        if source:
            self.module(module, source)
        importlib.invalidate_caches()
