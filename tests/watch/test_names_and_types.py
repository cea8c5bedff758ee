"""Which files are meant, and which of those may be sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.files.acceptance import Acceptance, types_of
from console.files.patterns import Patterns
from console.settings.watch_rules import WatchRule
from console.watch.decisions import version_key

PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)


def patterns(**settings: object) -> Patterns:
    return Patterns(WatchRule(**{"folder": Path("/in"), **settings}))


@pytest.mark.parametrize(
    "name",
    ["a.part", "a.tmp", "A.TMP", "notes.txt~", "film.mkv.crdownload", ".hidden", ".file.txt.Xy12", "~$report.docx"],
)
def test_temporary_names_are_left_out_unless_told_otherwise(name: str) -> None:
    assert patterns().leaves_out(f"sub/{name}", is_folder=False)
    assert not patterns(ignore_temporary=False).leaves_out(f"sub/{name}", is_folder=False)


def test_hidden_folders_are_left_out_but_a_folder_may_end_as_a_temporary_file() -> None:
    assert patterns().leaves_out(".git", is_folder=True)
    assert not patterns().leaves_out("old.tmp", is_folder=True)


def test_patterns_are_those_of_gitignore() -> None:
    rule = patterns(include=("*.pdf", "reports/"), exclude=("drafts/", "*.old.pdf"))
    meant = {
        "a.pdf": True,
        "deep/er/b.pdf": True,
        "reports/any.bin": True,
        "a.txt": False,
        "x.old.pdf": False,
        "drafts/a.pdf": False,
    }
    assert {name: not rule.leaves_out(name, is_folder=False) for name in meant} == meant
    assert rule.leaves_out("drafts", is_folder=True)
    assert not rule.leaves_out("other", is_folder=True)


def test_markers_and_the_folder_for_sent_files_are_left_out() -> None:
    rule = patterns(complete_when="marked", after="move", move_to=Path("/in/sent"))
    assert rule.leaves_out("a.csv.done", is_folder=False) == "a marker"
    assert not rule.leaves_out("a.csv", is_folder=False)
    assert rule.leaves_out("sent", is_folder=True)
    assert not rule.leaves_out("sub/sent", is_folder=True)


def test_a_type_is_judged_by_content(tmp_path: Path) -> None:
    """A name that claims to be an image counts for nothing; where content says little, the name may say more."""
    true_image, false_image = tmp_path / "a.png", tmp_path / "b.png"
    true_image.write_bytes(PNG)
    false_image.write_text("no image at all")
    table = tmp_path / "c.csv"
    table.write_text("a,b\n1,2\n")
    images = Acceptance(WatchRule(folder=tmp_path, content_types=("image/*",)))
    assert images.refuses(str(true_image), 40) == ""
    assert "text/plain by content, allowed: image/*" in images.refuses(str(false_image), 15)
    assert types_of(str(table)) == ("text/plain", "text/csv")
    assert Acceptance(WatchRule(folder=tmp_path, content_types=("text/csv",))).refuses(str(table), 8) == ""
    unknown = tmp_path / "d"
    unknown.write_bytes(bytes(range(256)))
    assert "its type is not allowed (unknown by content" in images.refuses(str(unknown), 256)


def test_extension_and_size() -> None:
    limits = Acceptance(WatchRule(folder=Path("/in"), extensions=(".pdf", ".tar.gz"), max_size=10))
    assert limits.refuses("/in/A.PDF", 10) == ""
    assert limits.refuses("/in/b.tar.gz", 0) == ""
    assert limits.refuses("/in/c.gz", 1) == "its extension is not allowed (.pdf, .tar.gz)"
    assert limits.refuses("/in/d.pdf", 11) == "larger than allowed (11 B, at most 10 B)"


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("dir/name.tar.gz", "dir/name.20261124T030000.000000007Z.tar.gz"),
        ("name", "name.20261124T030000.000000007Z"),
        ("dir/.profile", "dir/.profile.20261124T030000.000000007Z"),
    ],
)
def test_the_key_of_a_version(key: str, expected: str) -> None:
    assert version_key(key, 1_795_489_200 * 1_000_000_000 + 7) == expected
