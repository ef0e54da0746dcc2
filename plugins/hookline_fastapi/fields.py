"""Fields: raw values of a body turned into what they stand for, or into an error that names the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request

from hookline.ids import ID_ALPHABET, is_id
from hookline_fastapi.body import UPLOAD, Body, decode_json, read_body
from hookline_fastapi.problems import FieldError, invalid

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
NO_INSTANT = "must be an instant as RFC 3339 has it, such as 2026-11-21T10:00:00Z"

_VISIBLE = re.compile(r"[^\s\ufeff]")

_WORDS = {"true": True, "1": True, "false": False, "0": False}

Reader = Callable[[Any, bool], Any]
"""Turns a raw value into a field's value; the flag tells whether it came as JSON. Raises ValueError."""


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """A field that a body may have; None is what an optional one has when it is not given."""

    read: Reader
    required: bool = False


def read_fields(body: Body, specs: Mapping[str, FieldSpec]) -> dict[str, Any]:
    """The values of all fields in `specs` by name.

    Raises:
        Problem: 422, with every field that is unknown, missing or wrong.
    """
    errors = body.errors
    named = {error.field for error in errors}
    values: dict[str, Any] = dict.fromkeys(specs)
    for name, raw in body.values.items():
        spec = specs.get(name)
        if spec is None:
            errors.append(FieldError(_printable(name), f"unknown field; known are {', '.join(specs) or 'none'}"))
        elif name in named or (raw is None and not spec.required):
            continue
        elif raw is UPLOAD:
            errors.append(FieldError(name, "must be text, not an uploaded file"))
        else:
            try:
                values[name] = spec.read(raw, body.is_json)
            except ValueError as error:
                errors.append(FieldError(name, str(error)))
    for name, spec in specs.items():
        if spec.required and name not in body.values:
            errors.append(FieldError(name, "is required"))
    if errors:
        raise invalid(errors)
    return values


async def read_values(request: Request, specs: Mapping[str, FieldSpec], limit: int) -> dict[str, Any]:
    """The fields of a request's body, which has at most `limit` bytes.

    Raises:
        Problem: the body or a field is wrong.
    """
    return read_fields(await read_body(request.scope, request.receive, limit), specs)


def read_text(raw: Any, _is_json: bool) -> str:
    """Text with something in it."""
    if not isinstance(raw, str):
        raise ValueError("must be text")
    _refuse_unfit(raw)
    if not _VISIBLE.search(raw):
        raise ValueError("must not be blank")
    return raw


def read_id(max_length: int) -> Reader:
    """The reader of an id with at most `max_length` characters."""

    def read(raw: Any, is_json: bool) -> str:
        text = read_text(raw, is_json)
        if len(text) > max_length:
            raise ValueError(f"must have at most {max_length} characters")
        if not is_id(text):
            raise ValueError(f"must be made of {ID_ALPHABET}")
        return text

    return read


def read_bool(raw: Any, is_json: bool) -> bool:
    """A JSON boolean; in a form `true`, `false`, `1` or `0`."""
    value = _WORDS.get(raw.lower()) if isinstance(raw, str) and not is_json else raw
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def read_word(*words: str) -> Reader:
    """The reader of one of these words."""

    def read(raw: Any, is_json: bool) -> str:
        text = read_text(raw, is_json)
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return read


def read_number(*, above: float, most: float) -> Reader:
    """The reader of a number, more than `above`, at most `most`."""

    def read(raw: Any, is_json: bool) -> float:
        try:
            number = float(raw) if isinstance(raw, str) and not is_json else raw
        except ValueError:
            number = None
        if isinstance(number, bool) or not isinstance(number, int | float) or not above < number <= most:
            raise ValueError(f"must be a number, more than {above:g} and at most {most:g}")
        return float(number)

    return read


def read_count(most: int) -> Reader:
    """The reader of a whole number from 1."""
    read_any = read_number(above=0, most=most)

    def read(raw: Any, is_json: bool) -> int:
        number = read_any(raw, is_json)
        if not number.is_integer():
            raise ValueError("must be a whole number")
        return int(number)

    return read


def read_instant(raw: Any, is_json: bool) -> float:
    """An instant as RFC 3339 has it, with its offset; as seconds since the epoch."""
    text = read_text(raw, is_json)
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        pass
    raise ValueError(NO_INSTANT)


def read_object(raw: Any, is_json: bool) -> dict[str, Any]:
    """A JSON object; in a form its JSON text."""
    value, suspect = raw, True
    if not is_json:
        text = read_text(raw, is_json)
        suspect = "\\u" in text
        try:
            value = decode_json(text)
        except ValueError as error:
            raise ValueError(f"must be a JSON object: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    if suspect:
        for inner in _strings(value):
            _refuse_unfit(inner)
    return value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for child in value.values():
            yield from _strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from _strings(child)


def _refuse_unfit(text: str) -> None:
    if "\x00" in text:
        raise ValueError("must not hold a NUL character")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("must be valid UTF-8 without lone surrogates") from None


def _printable(name: str) -> str:
    return name.encode("ascii", "backslashreplace").decode()[:100]
