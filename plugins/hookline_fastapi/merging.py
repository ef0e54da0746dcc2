"""Merging of two OpenAPI documents: that of somebody's own app, and that of the API that was added to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hookline.jsontext import dumps, loads

Document = dict[str, Any]

PREFIX = "Hookline"
"""What names of ours begin with where the other document has the same name for something else."""


def merged(make_theirs: Callable[[], Document], make_ours: Callable[[], Document]) -> Callable[[], Document]:
    """What makes the document of both; theirs stays as it is, ours adds its paths and components."""

    def make() -> Document:
        return _merge(make_theirs(), make_ours())

    return make


def _merge(theirs: Document, ours: Document) -> Document:
    components = dict(theirs.get("components", {}))
    ours = _renamed(ours, components)
    paths = dict(theirs.get("paths", {}))
    for path, operations in ours["paths"].items():
        paths[path] = {**paths.get(path, {}), **operations}
    for kind, named in ours["components"].items():
        components[kind] = {**named, **components.get(kind, {})}
    return {**theirs, "paths": paths, "components": components}


def _renamed(document: Document, taken: Document) -> Document:
    """A document whose components have no name that another one has elsewhere.

    Security schemes keep theirs, by which operations call them: the same name is taken for the same scheme.
    """
    text = dumps(document)
    clashes = [
        (kind, name)
        for kind, named in document["components"].items()
        for name in named
        if kind != "securitySchemes" and name in taken.get(kind, {}) and named[name] != taken[kind][name]
    ]
    for kind, name in clashes:
        text = text.replace(f'"#/components/{kind}/{name}"', f'"#/components/{kind}/{PREFIX}{name}"')
    found: Document = loads(text)
    for kind, name in clashes:
        found["components"][kind][PREFIX + name] = found["components"][kind].pop(name)
    return found
