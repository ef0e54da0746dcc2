"""Finding plugins: entry points of installed distributions, and objects given in code. Nothing is imported here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from hookline.errors import ConfigurationError

GROUP = "hookline"
BUNDLING_DISTRIBUTION = "hookline"

_REQUIREMENT_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plugin that could be loaded.

    Attributes:
        name: what settings and the command line call it.
        module: where it is defined.
        load: imports it and returns it.
        distribution: the installed distribution that brings it; None for an object given in code.
        version: that distribution's version.
        requires: that distribution's requirements, as its metadata tells them.
        extras: the extras that its entry point names.
        given: whether it is an object given in code.
    """

    name: str
    module: str
    load: Callable[[], object]
    distribution: str | None = None
    version: str | None = None
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    given: bool = False

    @property
    def is_bundled(self) -> bool:
        """Whether it comes with hookline itself."""
        return self.distribution is not None and normalized(self.distribution) == BUNDLING_DISTRIBUTION

    @property
    def package(self) -> str:
        """The top-level package that it is defined in."""
        return self.module.partition(".")[0]


def normalized(name: str) -> str:
    """A distribution's name in its canonical form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_plugins() -> list[Candidate]:
    """The plugins of all installed distributions: the bundled ones first, then by name and distribution."""
    import importlib_metadata  # 50 ms, which only programs that serve should spend

    candidates = [_from_entry_point(entry_point) for entry_point in importlib_metadata.entry_points(group=GROUP)]
    return sorted(candidates, key=lambda each: (not each.is_bundled, each.name, each.distribution or ""))


def _from_entry_point(entry_point: Any) -> Candidate:
    distribution = entry_point.dist
    return Candidate(
        name=entry_point.name,
        module=entry_point.module,
        load=entry_point.load,
        distribution=distribution.name if distribution else None,
        version=distribution.version if distribution else None,
        requires=tuple((distribution.requires if distribution else None) or ()),
        extras=tuple(entry_point.extras),
    )


def given_plugins(plugins: Iterable[object]) -> list[Candidate]:
    """The plugins given in code, as `AgentOS(plugins=[...])` takes them.

    Raises:
        ConfigurationError: something among them cannot be a plugin.
    """
    return [_from_object(plugin) for plugin in plugins]


def _from_object(plugin: object) -> Candidate:
    if plugin is None or isinstance(plugin, str | bytes | int | float | dict | list | tuple | set):
        raise ConfigurationError(
            f"plugins=[{plugin!r}] is no plugin: give the module or object itself; a plugin that is installed needs "
            f"no mention, its entry point is enough"
        )
    if isinstance(plugin, ModuleType):
        module = plugin.__name__
        name = module.rpartition(".")[2].removeprefix("hookline_")
    else:
        owner = plugin if isinstance(plugin, type) else type(plugin)
        module, name = owner.__module__, owner.__qualname__
    own_name = getattr(plugin, "plugin_name", None)
    if isinstance(own_name, str) and own_name:
        name = own_name
    return Candidate(name=name, module=module, load=lambda: plugin, given=True)


def all_candidates(plugins: Iterable[object]) -> list[Candidate]:
    """The installed plugins, and those given in code; a module that is both is one candidate, a given one.

    Raises:
        ConfigurationError: something in `plugins` cannot be a plugin.
    """
    given = given_plugins(plugins)
    both = {(each.name, each.module) for each in given}
    installed = [
        replace(each, given=True) if (each.name, each.module) in both else each for each in installed_plugins()
    ]
    known = {(each.name, each.module) for each in installed}
    return [*installed, *(each for each in given if (each.name, each.module) not in known)]


def is_somebody_elses(candidate: Candidate, error: ImportError) -> bool:
    """Whether what could not be imported is a library, and not a part of the plugin or of hookline."""
    missing = (error.name or "").partition(".")[0]
    return missing not in (candidate.package, "hookline")


def install_hint(candidate: Candidate, error: ImportError) -> str:
    """The command that installs what a plugin misses, or "" if the error does not tell what that is."""
    if not error.name:
        return ""
    missing = error.name.partition(".")[0]
    extra = _extra_for(candidate, missing)
    if candidate.distribution and extra:
        return f'pip install "{candidate.distribution}[{extra}]"'
    return f"pip install {_requirement_for(candidate, missing) or missing}"


def _extra_for(candidate: Candidate, missing: str) -> str | None:
    if candidate.extras:
        return candidate.extras[0]
    extras = [match[1] for requirement in candidate.requires if (match := _EXTRA.search(requirement))]
    for requirement in candidate.requires:
        extra = _EXTRA.search(requirement)
        if extra and _names(requirement, missing):
            return extra[1]
    return candidate.name if candidate.name in extras else None


def _requirement_for(candidate: Candidate, missing: str) -> str | None:
    for requirement in candidate.requires:
        if _names(requirement, missing) and (match := _REQUIREMENT_NAME.match(requirement)):
            return match[1]
    return None


def _names(requirement: str, module: str) -> bool:
    match = _REQUIREMENT_NAME.match(requirement)
    return match is not None and normalized(match[1]) == normalized(module)
