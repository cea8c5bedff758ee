"""Patterns mean what git means by them: compared with git itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.files.patterns import Patterns
from console.settings.watch_rules import WatchRule

NAMES = [
    *("top.log", "a", "a/one.log", "a/no.txt", "a/b", "a/b/two.log", "a/b/c", "a/b/c/d.txt", "b", "b/a", "b/a/a"),
    *("ab", "abc", "a b", "a ", "[a]", "a]", "-", "é", "!x", "#x", "a*b", "a\\b", "d-e", "x.y.z", "foo/bar/baz/f"),
]
FOLDERS = {name for name in NAMES if any(other.startswith(f"{name}/") for other in NAMES)} | {
    "foo",
    "foo/bar",
    "foo/bar/baz",
}
ALL = sorted({*NAMES, *FOLDERS})


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    top = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", top], check=True)
    for name in ALL:
        path = top / name
        if name in FOLDERS:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return top


def ignored_by_git(repository: Path, lines: tuple[str, ...]) -> set[str]:
    excludes = repository / ".git" / "info" / "exclude"
    excludes.write_bytes(b"".join(os.fsencode(line) + b"\n" for line in lines))
    command = ["git", "-C", repository, "-c", "core.ignoreCase=false", "check-ignore", "--no-index", "-z", "--stdin"]
    asked = b"\0".join(os.fsencode(name) for name in ALL)
    answer = subprocess.run(command, input=asked, stdout=subprocess.PIPE)
    return {os.fsdecode(name) for name in answer.stdout.split(b"\0") if name}


def excluded(lines: tuple[str, ...]) -> set[str]:
    rule = Patterns(WatchRule(folder=Path("/in"), exclude=lines, ignore_temporary=False))
    return {name for name in ALL if rule.leaves_out(name, is_folder=name in FOLDERS)}


PIECES = st.sampled_from(
    [
        *("a", "b", "c", "ab", ".log", ".txt", "*", "**", "***", "?", "/", "/**/", "[a-c]", "[!a]", "[^b]", "[]a]"),
        *(
            "[[:alpha:]]",
            "[[:punct:]]",
            "[[:wrong:]]",
            "[a",
            "[\\]a]",
            "\\*",
            "\\\\",
            "\\",
            " ",
            "\\ ",
            "é",
            "foo",
            "bar",
        ),
        *("-", "[a-]", "[--a]", "!", "#", "[[:al]", "[!-~]"),
    ]
)
LINES = (
    st.lists(PIECES, min_size=1, max_size=5)
    .map("".join)
    .filter(lambda line: line.strip() not in ("", "/", "!", "!/") and line[0] != "#")
)


@pytest.mark.parametrize(
    "lines",
    [
        ("*", "!*/", "!*.log"),
        ("a/", "!a/one.log"),
        ("/a",),
        ("a/**", "!a/b/", "!a/b/two.log"),
        ("**/c",),
        ("b/a",),
        ("!a", "a"),
        ("*.txt", "!d.txt"),
        ("foo/*/baz",),
        ("foo/**/f",),
        ("\\!x", "\\#x"),
        ("a\\ ",),
    ],
)
def test_known_examples(repository: Path, lines: tuple[str, ...]) -> None:
    assert excluded(lines) == ignored_by_git(repository, lines)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), LINES), min_size=1, max_size=4))
def test_any_patterns(repository: Path, wanted: list[tuple[bool, str]]) -> None:
    lines = tuple(f"!{line}" if is_negated else line for is_negated, line in wanted)
    assert excluded(lines) == ignored_by_git(repository, lines)


def test_what_is_included_may_be_taken_back_by_a_later_pattern() -> None:
    rule = Patterns(WatchRule(folder=Path("/in"), include=("reports/", "*.pdf", "!*.old.pdf")))
    meant = {"a.pdf": True, "x/b.pdf": True, "reports/any.bin": True, "reports/a.old.pdf": False, "a.txt": False}
    assert {name: not rule.leaves_out(name, is_folder=False) for name in meant} == meant
