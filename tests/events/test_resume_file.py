"""The resume file: the old token or the new one, never half of one; and the place found again behind a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from console.errors import UsageError
from console.events.resume_file import ResumeFile, last_token
from console.events.text import json_line

OLD, NEW, LAST = ({"_data": f"8265F0000000{number:02d}"} for number in (1, 2, 3))


def test_a_token_comes_back(tmp_path: Path) -> None:
    file = ResumeFile(tmp_path / "resume.json")
    assert file.load() is None
    for token in (OLD, NEW):
        file.save(token)
        assert file.load() == token
    assert [each.name for each in tmp_path.iterdir()] == ["resume.json"]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"_data": "82', b"\xff\xfe", b"[]", b"5", b'{"_data": ""}'])
def test_a_file_that_holds_none_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "resume\x1b.json"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        ResumeFile(path).load()
    assert r"resume\x1b.json holds no resume token" in caught.value.message
    assert caught.value.advice


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such-folder"):
        ResumeFile(tmp_path / "no-such-folder" / "resume.json").save(OLD)
    with pytest.raises(UsageError, match="Is a directory"):
        ResumeFile(tmp_path).load()


def test_a_failed_save_leaves_the_old_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ResumeFile(tmp_path / "resume.json")
    file.save(OLD)

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="No space left on device"):
        file.save(NEW)
    assert file.load() == OLD
    assert [each.name for each in tmp_path.iterdir()] == ["resume.json"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    ResumeFile(tmp_path / "link").save(OLD)
    assert (tmp_path / "link").is_symlink()
    assert ResumeFile(tmp_path / "target").load() == OLD


def test_a_kill_while_saving_leaves_a_token(tmp_path: Path) -> None:
    program = (
        "import itertools, pathlib, sys; from console.events.resume_file import ResumeFile\n"
        "file = ResumeFile(pathlib.Path(sys.argv[1]))\n"
        "for number in itertools.count():\n"
        "    file.save({'_data': f'82{number:030d}'})\n"
        "    print(number, flush=True)\n"
    )
    path = tmp_path / "resume.json"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        saved = next(int(line) for line in process.stdout if int(line) >= 20)
        process.kill()
    token = ResumeFile(path).load()
    assert token is not None
    assert int(token["_data"][2:]) >= saved


def event(token: dict[str, Any]) -> str:
    return json_line({"_id": token, "operationType": "insert", "fullDocument": {"text": "x" * 200_000}}) + "\n"


@pytest.mark.parametrize(
    ("written", "kept", "place", "left"),
    [
        ("", OLD, OLD, ""),
        (event(OLD), OLD, OLD, event(OLD)),
        (event(OLD) + event(NEW), OLD, NEW, event(OLD) + event(NEW)),
        (event(OLD) + event(NEW)[:70_000], OLD, OLD, event(OLD)),
        (event(OLD) + event(NEW) + event(LAST)[:3], OLD, NEW, event(OLD) + event(NEW)),
        (event(OLD)[:-1], OLD, OLD, ""),
        (event(OLD), NEW, NEW, event(OLD)),
        ("other lines\n", OLD, OLD, "other lines\n"),
        ("[]\n", OLD, OLD, "[]\n"),
        ('{"_id": 5}\n\n', OLD, OLD, '{"_id": 5}\n\n'),
        (event(LAST), None, None, event(LAST)),
    ],
)
def test_the_place_after_a_kill(
    tmp_path: Path, written: str, kept: dict[str, Any] | None, place: dict[str, Any] | None, left: str
) -> None:
    output, file = tmp_path / "out.jsonl", ResumeFile(tmp_path / "resume.json")
    output.write_text(written)
    if kept is not None:
        file.save(kept)
    with output.open("ab") as append:  # as a shell's >> opens it: for writing only
        assert file.settle(append.fileno()) == place
        append.write(b"more\n")
    assert output.read_text() == left + "more\n"


def test_a_pipe_tells_nothing(tmp_path: Path) -> None:
    file = ResumeFile(tmp_path / "resume.json")
    file.save(OLD)
    reading, writing = os.pipe()
    try:
        assert last_token(writing) is None
        assert file.settle(writing) == OLD
    finally:
        os.close(reading)
        os.close(writing)
