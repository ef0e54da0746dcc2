"""Print the installed versions of what pyproject.toml names; fail where one is not the oldest that it allows.

`tox run -e lowest` starts with it: a version that is not installed there is one that no test has seen.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def wrong(line: str) -> bool:
    """Print one requirement beside what is installed; whether they differ."""
    requirement = Requirement(line)
    installed = version(requirement.name)
    oldest = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    differs = oldest != [Version(installed)]
    print(f"{line:28} {installed}{'  <- is not the oldest' if differs else ''}")
    return differs


if __name__ == "__main__":
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    sys.exit(sum([wrong(line) for line in lines]) > 0)
