"""What is installed: uv.lock is that of pyproject.toml, and names no place but the public registry."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "uv.lock"


def canonical(requirement: str) -> tuple[str, frozenset[str]]:
    found = re.fullmatch(r"([\w-]+)(?:\[[^]]*\])?([^;]*)(?:;.*)?", requirement)
    assert found is not None, requirement
    return found[1].lower().replace("_", "-"), frozenset(found[2].replace(" ", "").split(",")) - {""}


def test_the_lock_file_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    lock = tomllib.loads(LOCK.read_text())
    [own] = [package for package in lock["package"] if package["name"] == project["name"]]
    locked = {
        (entry["name"], frozenset(entry.get("specifier", "").split(",")) - {""})
        for entry in own["metadata"]["requires-dist"]
    }
    assert {canonical(line) for line in declared} - {(project["name"], frozenset())} == locked - {
        (project["name"], frozenset())
    }, "run `uv lock`"


def test_the_lock_file_has_hashes_and_public_addresses() -> None:
    text = LOCK.read_text()
    assert set(re.findall(r"https?://([^/\"]+)", text)) == {"pypi.org", "files.pythonhosted.org"}
    files = re.findall(r"\{ url = .*?\}", text)
    assert files
    assert not [file for file in files if 'hash = "sha256:' not in file]
