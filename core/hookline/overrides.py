"""Overrides: what the settings say of single hooks, over what is marked in code.

[hooks."support/post/notify"]     the post-hook `notify` of the agent `support`
retries = 5

[hooks."*/post/audit"]            the post-hook `audit` of every runnable that has no such table of its own option
sample = 0.1
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from hookline.deliveries import HookKey
from hookline.errors import ConfigurationError
from hookline.hook_options import HookOptions, mistake_in

OVERRIDABLE = (
    "timeout",
    "retries",
    "backoff",
    "max_age",
    "concurrency",
    "circuit_threshold",
    "circuit_cooldown",
    "sample",
    "mode",
    "run_in_background",
    "on_error",
)
"""The options that the settings may override."""

EVERY_RUNNABLE = "*"

Place = Callable[[str, str | None], str]
"""Where a hook's table, or one option in it, was found: in words, for messages."""


@dataclass(frozen=True, slots=True)
class _Table:
    key: HookKey
    options: HookOptions


class HookOverrides:
    """What the settings say of single hooks.

    Args:
        tables: by the hooks' keys, `RUNNABLE/PHASE/HOOK` or `*/PHASE/HOOK`; each has some of `OVERRIDABLE`.
        place: tells where a table, or an option, was found.

    Raises:
        ConfigurationError: a key is none, an option is unknown or has no meaning.
    """

    def __init__(self, tables: Mapping[str, Mapping[str, Any]] | None = None, place: Place | None = None) -> None:
        self._place = place or (lambda key, option: f'hooks."{key}"')
        self._tables = {key: _Table(self._key(key), self._options(key, table)) for key, table in (tables or {}).items()}

    def over(self, key: HookKey, marked: HookOptions) -> tuple[HookOptions, tuple[str, ...]]:
        """What holds for a hook in the end, and which options of it came from here.

        A table for this very hook wins over one for every runnable, option by option.

        Raises:
            ConfigurationError: an option does not fit the hook.
        """
        options = marked
        names: set[str] = set()
        tables = list(self._for(key))
        for table in tables:
            options = table.options.over(options)
            names.update(table.options.said())
        for table in tables:
            if misfit := table.options.misfit(options):
                option, reason = misfit
                raise ConfigurationError(f"{self._place(str(table.key), option)}: {key.hook!r} {reason}")
        return options, tuple(sorted(names))

    def check_names(self, known: Iterable[HookKey], absent_plugins: Collection[str] = ()) -> None:
        """See that each key names a hook.

        Args:
            known: all hooks that there are.
            absent_plugins: plugins that are there but not used; their hooks may be named all the same.

        Raises:
            ConfigurationError: one names none.
        """
        hooks = {str(key) for key in known}
        names = hooks | {str(_everywhere(HookKey(*name.split("/", 2)))) for name in hooks}
        for text, table in self._tables.items():
            if text in names or table.key.hook.partition(".")[0] in absent_plugins:
                continue
            raise ConfigurationError(f"{self._place(text, None)}: there is no such hook; {_meant(text, names)}")

    def _for(self, key: HookKey) -> Iterator[_Table]:
        for name in (str(_everywhere(key)), str(key)):
            if name in self._tables:
                yield self._tables[name]

    def _key(self, text: str) -> HookKey:
        runnable, _, rest = text.partition("/")
        phase, _, hook = rest.partition("/")
        if not (runnable and hook) or phase not in ("pre", "post"):
            raise ConfigurationError(
                f'{self._place(text, None)}: a hook is named "RUNNABLE/pre/HOOK" or "RUNNABLE/post/HOOK", '
                f'with "*" for every runnable (`hookline hooks` lists them)'
            )
        return HookKey(runnable, phase, hook)

    def _options(self, key: str, table: Mapping[str, Any]) -> HookOptions:
        for option, value in table.items():
            place = self._place(key, option)
            if option not in OVERRIDABLE:
                near = get_close_matches(option, OVERRIDABLE, n=1)
                mend = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(sorted(OVERRIDABLE))}"
                raise ConfigurationError(f"{place}: unknown key {option!r}; {mend}")
            if value is None:
                raise ConfigurationError(f"{place}: {option} has no value: give it one, or leave it out")
            if mistake := mistake_in({option: value}):
                raise ConfigurationError(f"{place}: {mistake}")
        return HookOptions(**table)


def _everywhere(key: HookKey) -> HookKey:
    return key._replace(runnable=EVERY_RUNNABLE)


def _meant(text: str, names: Collection[str]) -> str:
    near = get_close_matches(text, sorted(names), n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    mine = sorted(name for name in names if not name.startswith(f"{EVERY_RUNNABLE}/"))
    return f"there is {', '.join(mine)}" if mine else "there is none at all"
