"""Who may import whom: core knows no plugin, a plugin only the public core, examples what a third party would."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import hookline

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "core" / "hookline"
PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())
EXAMPLES = sorted((ROOT / "examples").glob("**/*.py"))

NOT_FOR_CORE = {"fastapi", "starlette", "uvicorn", "sqlalchemy", "alembic", "openai", "httpx", "httpx2"}
PRIVATE = {"hookline.execution"}
"""Packages of core that are nobody else's business, besides names that begin with an underscore."""


class Import(NamedTuple):
    """One import: the module, the name taken out of it (None for `import module`), and where it stands."""

    module: str
    name: str | None
    where: str
    at_top: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.module}" + (f" import {self.name}" if self.name else "")


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(path: Path, root: Path) -> str:
    name = name_of(path, root)
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def is_type_checking(node: ast.If) -> bool:
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def nodes_of(tree: ast.AST, *, typing_too: bool, at_top: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it is executed when the module is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and is_type_checking(node) and not typing_too:
            for other in node.orelse:
                yield from nodes_of(ast.Module([other], []), typing_too=typing_too, at_top=at_top)
            continue
        yield node, at_top
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from nodes_of(node, typing_too=typing_too, at_top=at_top and not inside)


def imports_of(path: Path, root: Path, *, typing_too: bool = True) -> list[Import]:
    found = []
    for node, at_top in nodes_of(ast.parse(path.read_text(encoding="utf-8")), typing_too=typing_too):
        if isinstance(node, ast.Import):
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            found += [Import(alias.name, None, where, at_top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = package_of(path, root).split(".")
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            where = f"{path.relative_to(ROOT)}:{node.lineno}"
            found += [Import(base, alias.name, where, at_top) for alias in node.names]
    return found


def all_imports(folder: Path, root: Path) -> list[Import]:
    return [each for path in sorted(folder.glob("**/*.py")) for each in imports_of(path, root)]


def top(module: str) -> str:
    return module.partition(".")[0]


def in_any(module: str, packages: set[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def is_private(each: Import) -> bool:
    full = f"{each.module}.{each.name or ''}"
    return in_any(full.rstrip("."), PRIVATE) or any(part.startswith("_") for part in full.rstrip(".").split("."))


def test_there_is_something_to_look_at() -> None:
    assert len(PLUGINS) >= 4
    assert EXAMPLES
    assert len(all_imports(CORE, CORE.parent)) > 100


def test_core_imports_no_plugin_and_no_plugins_library() -> None:
    forbidden = NOT_FOR_CORE | {plugin.name for plugin in PLUGINS}
    wrong = [each for each in all_imports(CORE, CORE.parent) if top(each.module) in forbidden]
    wrong += [each for each in all_imports(CORE, CORE.parent) if top(each.module).startswith("hookline_")]
    assert wrong == []


def test_core_imports_only_what_it_says_it_needs() -> None:
    import sys

    own = {
        "hookline", "pluggy", "importlib_metadata", "pydantic", "pydantic_core", "pydantic_settings", "anyio", "click",
        "rich", "typing_extensions",
    }  # fmt: skip
    own |= set(sys.stdlib_module_names)
    contracts = CORE / "testing"
    for path in CORE.glob("**/*.py"):
        allowed = own | {"pytest"} if path.is_relative_to(contracts) else own
        assert {top(each.module) for each in imports_of(path, CORE.parent)} <= allowed, path


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_imports_only_the_public_core_and_no_other_plugin(plugin: Path) -> None:
    others = {other.name for other in PLUGINS} - {plugin.name}
    wrong = []
    for each in all_imports(plugin, plugin.parent):
        if top(each.module) in others:
            wrong.append(each)
        if top(each.module) == "hookline" and is_private(each):
            wrong.append(each)
    assert wrong == []


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_what_a_plugin_takes_from_core_is_there(plugin: Path) -> None:
    for each in all_imports(plugin, plugin.parent):
        if top(each.module) == "hookline" and each.name is not None and each.name != "*":
            module = importlib.import_module(each.module)
            assert hasattr(module, each.name) or importlib.util.find_spec(f"{each.module}.{each.name}"), str(each)


def test_core_has_no_circle_of_imports() -> None:
    """Between modules, as far as they import each other when they are imported."""
    modules = {name_of(path, CORE.parent): path for path in CORE.glob("**/*.py")}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        needs = set()
        for each in imports_of(path, CORE.parent, typing_too=False):
            if not each.at_top:
                continue
            as_module = f"{each.module}.{each.name}"
            needs.add(as_module if as_module in modules else each.module)
        graph[name] = {need for need in needs if need in modules and need != name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"core imports in a circle: {' -> '.join(error.args[1])}")


def test_core_hides_no_import_of_its_own_in_a_function() -> None:
    """An import of core in a function is a circle in disguise; heavy third-party libraries may be imported late.

    `hookline.settings` stands for pydantic-settings, which costs more than all of core, and the contract tests in
    `hookline.testing` for pytest, which may not be there.
    """
    may = {"hookline.settings", *(f"hookline.testing.{path.stem}" for path in (CORE / "testing").glob("*_contract*"))}
    command_line = CORE / "cli"
    hidden = [
        each
        for path in sorted(CORE.glob("**/*.py"))
        if not path.is_relative_to(command_line)
        for each in imports_of(path, CORE.parent, typing_too=False)
        if not each.at_top and top(each.module) == "hookline"
        if each.module not in may and f"{each.module}.{each.name}" not in may
    ]
    assert hidden == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_imports_as_a_third_party_would(example: Path) -> None:
    for each in imports_of(example, example.parent):
        if top(each.module) == "hookline":
            assert each.module in {"hookline", "hookline.testing"}, str(each)
            assert each.name is None or each.module != "hookline" or each.name in hookline.__all__, str(each)
        elif top(each.module).startswith("hookline_"):
            assert "." not in each.module, str(each)
            public = importlib.import_module(each.module).__all__
            assert each.name is None or each.name in public, str(each)
        assert not top(each.module).startswith("tests"), str(each)


def test_neither_folder_is_a_package() -> None:
    assert not (ROOT / "core" / "__init__.py").exists()
    assert not (ROOT / "plugins" / "__init__.py").exists()
