"""The shape of the package: rooms of a size that a person can look over, and names that lead to one place."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

_PACKAGE = Path(__file__).parent.parent / "console"
_MOST_FILES = 12
_MODULES = sorted(path for path in _PACKAGE.rglob("*.py") if path.name != "__init__.py")
_ROOMS = sorted({path.parent for path in _MODULES})


def _name(path: Path) -> str:
    return str(path.relative_to(_PACKAGE.parent))


@pytest.mark.parametrize("room", _ROOMS, ids=_name)
def test_a_room_has_at_most_twelve_files(room: Path) -> None:
    files = [path.name for path in _MODULES if path.parent == room]
    assert len(files) <= _MOST_FILES, f"{_name(room)} has {len(files)} files: {', '.join(files)}"


@pytest.mark.parametrize("room", _ROOMS, ids=_name)
def test_a_room_says_what_it_owns(room: Path) -> None:
    docstring = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert docstring, f"{_name(room)}/__init__.py has no docstring"


def test_no_module_name_stands_twice() -> None:
    places = defaultdict(list)
    for path in _MODULES:
        places[path.stem].append(_name(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def _public_classes(path: Path) -> Iterator[str]:
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name


def test_no_public_class_name_stands_twice() -> None:
    places = defaultdict(list)
    for path in _PACKAGE.rglob("*.py"):
        for name in _public_classes(path):
            places[name].append(_name(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def _imported(path: Path, modules: set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                yield submodule if submodule in modules else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_two_files_import_each_other() -> None:
    names = {
        ".".join(path.relative_to(_PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in _PACKAGE.rglob("*.py")
    }
    imports = {name: set(_imported(path, set(names))) & set(names) - {name} for name, path in names.items()}
    pairs = sorted(
        (one, other) for one, others in imports.items() for other in others if one < other and one in imports[other]
    )
    assert pairs == []
