"""Going to a path: typed, completed, bookmarked, recent."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.ui.main.path_dialog import PathDialog, completions, expanded
from tests.ui.rest import Typed

from .conftest import Opener
from .fake_backend import document


def test_what_a_path_goes_on_to(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert completions("part-", str(photos)) == ["part-10.bin", "part-9.bin"]
    assert completions("", str(photos))[0] == "2026/"
    assert completions(f"{photos}/.h", "/") == [f"{photos}/.hidden"]
    assert completions("~/photos/2", "/") == ["~/photos/2026/"]
    assert completions("none/x", str(photos)) == []
    assert expanded("..", str(photos)) == str(photos.parent)
    assert expanded("~", "/") == str(photos.parent)


async def test_a_path_is_typed_and_completed(opened: Opener, photos: Path) -> None:
    async with opened() as console:
        await console.press("p", Typed("~/photos/2"), "tab", "enter")
        await console.until(lambda: console.screen.files.directory == str(photos / "2026"))
        await console.until(lambda: "inner.txt" in console.text)


async def test_a_file_is_gone_to_and_one_that_is_not_there_is_said(opened: Opener, photos: Path) -> None:
    async with opened(directory="/") as console:
        await console.press("p", Typed(str(photos / "b.jpg")), "enter")
        await console.until(lambda: console.screen.files.rows.cursor_key == str(photos / "b.jpg"))
        await console.press("p", Typed("nowhere"), "enter")
        await console.until(lambda: "No such file or directory" in console.text)


async def test_bookmarks_and_recent_folders_are_offered_and_remembered(
    opened: Opener, photos: Path, tmp_path: Path
) -> None:
    state = tmp_path / "screen.json"
    async with opened(state_file=state) as console:
        await console.press("B")
        await console.until(lambda: "bookmarked" in console.text)
        await console.press("p", Typed("2026"), "enter")
        await console.until(lambda: console.screen.files.directory == str(photos / "2026"))
    async with opened(state_file=state, directory="/") as console:
        await console.press("p")
        assert isinstance(console.app.screen, PathDialog)
        await console.until(lambda: "~/photos/2026" in console.text)
        await console.press("down", "enter")
        await console.until(lambda: console.screen.files.directory == str(photos))


async def test_what_was_uploaded_is_marked_until_it_changes(opened: Opener, photos: Path) -> None:
    file = photos / "b.jpg"
    status = file.stat()
    sent = document(
        1, status="completed", filename="b.jpg", path=str(file), size=status.st_size, mtime_ns=status.st_mtime_ns
    )
    async with opened(documents=[sent]) as console:
        await console.until(lambda: "b.jpg ✓" in console.text)
        assert "a.jpg ✓" not in console.text
        file.write_bytes(b"another one")
        await console.press("ctrl+r")
        await console.until(lambda: "b.jpg ✓" not in console.text)
