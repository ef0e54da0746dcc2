"""Overrides: what the settings say of single hooks, over what is marked in code.

[hooks."support/post/notify"]     the post-hook `notify` of the agent `support`
retries = 5

[hooks."*/post/audit"]            the post-hook `audit` of every runnable that has no such table of its own option
sample = 0.1
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
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
        self._tables = {self._key(text): self._options(text, table) for text, table in (tables or {}).items()}

    def over(self, key: HookKey, marked: HookOptions) -> tuple[HookOptions, tuple[str, ...]]:
        """What holds for a hook in the end, and which options of it came from here.

        A table for this very hook wins over one for every runnable, option by option.

        Raises:
            ConfigurationError: an option does not fit the hook.
        """
        options = marked
        names: set[str] = set()
        tables = [(each, self._tables[each]) for each in (_everywhere(key), key) if each in self._tables]
        for _, table in tables:
            options = table.over(options)
            names.update(table.said())
        for found, table in tables:
            if misfit := table.misfit(options):
                option, reason = misfit
                raise ConfigurationError(f"{self._place(str(found), option)}: {key.hook!r} {reason}")
        return options, tuple(sorted(names))

    def check_names(self, known: Iterable[HookKey], absent_plugins: Collection[str] = ()) -> None:
        """See that each key names a hook.

        Args:
            known: all hooks that there are.
            absent_plugins: plugins that are there but not used; their hooks may be named all the same.

        Raises:
            ConfigurationError: one names none.
        """
        keys = set(known)
        keys |= {_everywhere(key) for key in keys}
        for key in self._tables:
            if key not in keys and key.hook.partition(".")[0] not in absent_plugins:
                raise ConfigurationError(f"{self._place(str(key), None)}: there is no such hook; {_meant(key, keys)}")

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


def _meant(key: HookKey, keys: Collection[HookKey]) -> str:
    near = get_close_matches(str(key), sorted(map(str, keys)), n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    mine = sorted(str(each) for each in keys if each.runnable != EVERY_RUNNABLE)
    return f"there is {', '.join(mine)}" if mine else "there is none at all"
