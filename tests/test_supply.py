"""What is installed: uv.lock is that of pyproject.toml, and names no place but the public registry."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def installed(requirements: list[str]) -> dict[str, str]:
    """All packages that these bring here, with the licence that each tells."""
    found: dict[str, str] = {}
    wanted = [(line, "") for line in requirements]
    while wanted:
        line, extra = wanted.pop()
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker is not None and not requirement.marker.evaluate({"extra": extra})):
            continue
        package = metadata.distribution(name)
        kinds = [kind.rpartition("::")[2].strip() for kind in package.metadata.get_all("Classifier", [])]
        licences = [kind for kind in kinds if "License" in kind]
        found[name] = package.metadata.get("License-Expression") or "; ".join(licences)
        wanted += [(line, extra) for line in package.requires or () for extra in ("", *requirement.extras)]
    return found


def test_the_licence_of_every_package_is_listed() -> None:
    """What each package says of itself, but for those that say nothing and those of which only a part is free."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for name in ("compress", "encrypt", "serve") for line in project["optional-dependencies"][name]]
    table = dict(re.findall(r"^\| ([\w-]+) \| ([^|]+) \|$", (ROOT / "docs" / "licences.md").read_text(), re.MULTILINE))
    in_words = {"zstandard": "BSD-3-Clause", "pyrage": "MIT"}
    locked = {(package["name"], package.get("version")) for package in tomllib.loads(LOCK.read_text())["package"]}
    packages = installed([*project["dependencies"], *extras])
    if not locked.issuperset((name, metadata.version(name)) for name in packages):
        pytest.skip("other versions than the locked ones may say it in other words")
    listed = {name: (in_words | table).get(name) for name in packages}
    assert listed == {name: licence or listed[name] for name, licence in packages.items()}
    assert None not in listed.values()
    assert table.keys() - packages.keys() == {"package"}, "these are no dependencies any more"
    told = (ROOT / "docs" / "licences.md").read_text()
    for line in project["optional-dependencies"]["embedded"]:
        assert Requirement(line).name in told
