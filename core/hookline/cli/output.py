"""What commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TextIO, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_WIDE = 10_000
"""The width of a pipe: nothing is cut off or wrapped there."""


def json_option(command: F) -> F:
    """`--json`: print JSON instead of a table."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def print_json(value: Any, *, file: TextIO | None = None) -> None:
    """Print plain data as JSON."""
    click.echo(json.dumps(value, ensure_ascii=False, indent=2), file=file)


def print_listing(
    items: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    as_json: bool,
    next_cursor: str | None = None,
    empty: str = "nothing",
) -> None:
    """Print a listing.

    Args:
        items: plain data.
        columns: the table's headings, each with the key of its values.
        as_json: print `{"items": [...], "next_cursor": ...}` instead.
        next_cursor: what `--cursor` takes for what follows.
        empty: what there is none of, for people.
    """
    if as_json:
        print_json({"items": list(items), "next_cursor": next_cursor})
        return
    if not items:
        click.echo(f"no {empty}")
        return
    _print_table(list(columns), [[_cell(item[key]) for key in columns.values()] for item in items])
    if next_cursor is not None:
        click.echo(f"more: --cursor {next_cursor}")


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing, a line for each field; what is empty is left out."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        if (text := _cell(value)) != "":
            click.echo(f"{name:<{width}}  {text}")


def _print_table(headings: Iterable[str], rows: Iterable[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE, highlight=False)
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # as Text: brackets in names are no markup
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)
