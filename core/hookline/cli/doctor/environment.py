"""Python and the packages: do they fit what hookline's own metadata asks for?"""

from __future__ import annotations

import platform
import re
import sqlite3
from collections.abc import Iterator, Sequence

import importlib_metadata

from hookline.cli.doctor.finding import Finding, fail, ok, warn

DISTRIBUTION = "hookline"
OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING."""

_REQUIREMENT = re.compile(r"\s*(?P<name>[A-Za-z0-9][\w.-]*)\s*(\[[^]]*\])?\s*(?P<versions>[^;]*)(?P<marker>;.*)?")
_AT_LEAST = re.compile(r">=\s*([\d.]+)")
_RELEASE = re.compile(r"\d+(\.\d+)*")
_SPEEDUPS = ("uvloop", "httptools")


def examine_environment() -> Iterator[Finding]:
    """Examine Python, the packages that hookline requires, those that make it faster, and SQLite."""
    try:
        own = importlib_metadata.distribution(DISTRIBUTION)
    except importlib_metadata.PackageNotFoundError:
        yield ok("python", f"Python {platform.python_version()}")
        yield warn(
            "packages", f"{DISTRIBUTION} is not installed: there is no telling what it requires", "pip install hookline"
        )
    else:
        yield python_finding(platform.python_version(), own.metadata.get("Requires-Python", ""))
        yield from package_findings(own.requires or (), title=f"{DISTRIBUTION} {own.version}")
    yield _speedups()
    yield sqlite_finding(sqlite3.sqlite_version_info)


def python_finding(version: str, required: str) -> Finding:
    """Whether a Python fits the distribution's `Requires-Python`."""
    if is_new_enough(version, required):
        return ok("python", f"Python {version}")
    return fail(
        "python", f"Python {version}, but {required} is required", f"make the environment with a Python {required}"
    )


def package_findings(requirements: Sequence[str], *, title: str) -> Iterator[Finding]:
    """Whether each requirement is installed; those of extras, and those with other conditions, are not looked at."""
    wrong = 0
    fitting = 0
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement)
        if match is None or match["marker"]:
            continue
        name, versions = match["name"], match["versions"].strip()
        installed = _installed_version(name)
        if installed is not None and is_new_enough(installed, versions):
            fitting += 1
            continue
        wrong += 1
        there = "is not installed" if installed is None else f"{installed} is installed, but {versions} is required"
        yield fail(f"package {name}", f"{name} {there}", f'pip install "{name}{versions}"')
    if not wrong:
        yield ok("packages", f"{title} has the {fitting} packages that it requires")


def is_new_enough(version: str, required: str) -> bool:
    """Whether a version is at least what a specifier such as `>=2.0.40` asks for; other conditions are not judged."""
    least = _AT_LEAST.search(required)
    return least is None or _release(version) >= _release(least[1])


def sqlite_finding(version: tuple[int, ...]) -> Finding:
    """Whether the SQLite that Python is linked to knows all statements of the ledger."""
    text = ".".join(map(str, version))
    if version >= OLDEST_SQLITE:
        return ok("sqlite", f"SQLite {text}")
    least = ".".join(map(str, OLDEST_SQLITE))
    return fail("sqlite", f"SQLite {text}, but {least} is required", "use a Python that is linked to a newer SQLite")


def _speedups() -> Finding:
    missing = [name for name in _SPEEDUPS if _installed_version(name) is None]
    if not missing:
        return ok("speed", f"{' and '.join(_SPEEDUPS)} are installed")
    return warn(
        "speed", f"without {' and '.join(missing)} the server is slower", f"optional: pip install {' '.join(missing)}"
    )


def _installed_version(name: str) -> str | None:
    try:
        version: str | None = importlib_metadata.version(name)
    except importlib_metadata.PackageNotFoundError:
        return None
    return version


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without zeros at its end: 1.0 is 1."""
    match = _RELEASE.match(version)
    numbers = [int(part) for part in match[0].split(".")] if match else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
