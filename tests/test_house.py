"""The shape of the package: rooms of a size that a person can look over, and names that lead to one place."""

from __future__ import annotations

import ast
import io
import re
import tokenize
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


# What modules were once called: nothing may send a reader there.
_GONE_WORDS = """
acceptance aftercare asking at_rest blocking browser careful_reading carry checks clauses clipboard columns
compare complaints config confirm content crt_client crt_engine crt_errors crt_messages decoding destination
dry_run endings engine_choice event_bounds event_cells event_lines event_match event_replay event_stream
file_rows filters finds forms frontiers fullscreen held_uploads help hidden_marks history history_rows
images in_hand intents json_lines judging key_bar keys_in_use leaving line_output link_screen log_lines
match_conditions match_paths metrics moving new_upload notes notifications objects open_files
open_multiparts opening order ordered_input orders pace parts plan polls pool presence presign probe
progress put queueing record_journal refusal replica_set report resume_file retrying room row_source rows
rule_parts rules scan_progress scanning sent setting_types settling signals slots state stream_errors
stream_options systemd tab_line terminal_echo text_rows thrift tidying title_line transfer_control
transition_writes troubles upload_order upload_rows values verdicts watch_report watched_folder
"""
_GONE = frozenset(_GONE_WORDS.split())
_IN_BACKTICKS = re.compile(r"`([A-Za-z_][\w.]*)`")
_SIGNPOST = re.compile(r"\b(?:Not here:|[Ss]ee |(?:is|are|stands?) in )[^.;]*")
_SOURCES = {path: path.read_text() for path in sorted(_PACKAGE.rglob("*.py"))}
_PARTS = {path: path.relative_to(_PACKAGE).with_suffix("").parts for path in _SOURCES}
_PATHS = {parts[:-1] if parts[-1] == "__init__" else parts: path for path, parts in _PARTS.items()}
_ROOM_NAMES = {room.name for room in _ROOMS}
_STEMS = {parts[-1] for parts in _PATHS if parts}


def _prose(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def _words_of_code(source: str) -> set[str]:
    """Names and short strings of a file, without its prose: a name that stands there is no module that is gone."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    kinds = (tokenize.NAME, tokenize.STRING)
    code = [token.string for token in tokens if token.type in kinds and not token.string.startswith('"""')]
    return set(re.findall(r"\w+", " ".join(code)))


def _is_found(steps: tuple[str, ...]) -> bool:
    """Whether the steps lead to a module, or to a name that stands in one."""
    for length in range(len(steps), 0, -1):
        found = [path for parts, path in _PATHS.items() if parts[-length:] == steps[:length]]
        if found:
            rest = steps[length : length + 1]
            return not rest or any(re.search(rf"\b{rest[0]}\b", _SOURCES[path]) for path in found)
    return False


def _misleading(source: str) -> Iterator[str]:
    code = _words_of_code(source)
    for text in _prose(source):
        named_as_places = {name for phrase in _SIGNPOST.findall(text) for name in _IN_BACKTICKS.findall(phrase)}
        for name in dict.fromkeys(_IN_BACKTICKS.findall(text)):
            steps = tuple(name.removeprefix("console.").split("."))
            if steps[0] in code or (_is_found(steps) and steps[0] not in _GONE):
                continue
            is_place = name in named_as_places and name.islower() and (len(steps) > 1 or "_" in name)
            is_path = len(steps) > 1 and steps[0] in _STEMS and (steps[0] not in _ROOM_NAMES or steps[1] in _GONE)
            if steps[0] in _GONE or is_place or is_path:
                yield name


@pytest.mark.parametrize("path", _SOURCES, ids=_name)
def test_docstrings_and_comments_name_modules_that_exist(path: Path) -> None:
    wrong = list(_misleading(_SOURCES[path]))
    assert not wrong, f"{_name(path)} sends readers to what is not there: {', '.join(wrong)}"


def test_the_architecture_names_files_and_classes_that_exist() -> None:
    text = (_PACKAGE.parent / "docs" / "architecture.md").read_text()
    files = re.findall(r"`((?:\w+/)*\w+\.py)`", text)
    missing = [
        name
        for name in files
        if not any((top / name).is_file() for top in (_PACKAGE, _PACKAGE.parent, _PACKAGE.parent / "tests" / "ui"))
    ]
    everything = "\n".join(_SOURCES.values())
    classes = re.findall(r"`((?:[A-Z][a-z0-9]+){2,})`", text)
    missing += [name for name in classes if not re.search(rf"\b{name}\b", everything)]
    assert not missing, f"docs/architecture.md names what is not there: {', '.join(missing)}"
