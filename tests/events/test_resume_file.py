"""The resume file: the old token or the new one, never half of one; and the place found again behind a kill."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest

from console.commands.events.lines import EventLines, LineForm
from console.errors import UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem
from console.events.recording import ResumeFile, StreamName, last_token
from console.events.since import Start
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
        "import itertools, pathlib, sys; from console.events.recording import ResumeFile\n"
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


def anybodys(_: ChangeEvent) -> bool:
    return True


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
        assert file.settle(append.fileno(), anybodys) == (place if kept is not None or not written else LAST)
        append.write(b"more\n")
    assert output.read_text() == left + "more\n"


def test_a_pipe_tells_nothing(tmp_path: Path) -> None:
    file = ResumeFile(tmp_path / "resume.json")
    file.save(OLD)
    reading, writing = os.pipe()
    try:
        assert last_token(writing, anybodys) is None
        assert file.settle(writing, anybodys) == OLD
    finally:
        os.close(reading)
        os.close(writing)


STREAM = StreamName("a:1", "shop.orders", "op:insert")


def line(number: int, operation: str, **document: Any) -> str:
    token = {"_data": f"8265F0000000{number:02d}"}
    return json_line({"_id": token, "operationType": operation, "fullDocument": document}) + "\n"


def inserts(event: ChangeEvent) -> bool:
    return event.operation == "insert"


def test_lines_of_another_reader_are_not_taken_for_ones_own(tmp_path: Path) -> None:
    """Two readers with filters of their own append to one file; one is killed before it kept its place."""
    file = ResumeFile(tmp_path / "resume.json", STREAM)
    with (tmp_path / "out.jsonl").open("ab", buffering=0) as output:
        output.write(line(1, "insert").encode())
        file.save({"_data": "8265F000000001"}, output.fileno())
        output.write((line(2, "insert") + line(3, "delete") + line(4, "delete")).encode())
        assert file.settle(output.fileno(), inserts) == {"_data": "8265F000000002"}
        file.save({"_data": "8265F000000005"}, output.fileno())
        output.write(line(6, "delete").encode())
        assert file.settle(output.fileno(), inserts) == {"_data": "8265F000000005"}


def test_only_what_was_written_since_is_looked_at(tmp_path: Path) -> None:
    """What lies before was kept: by another reader it may be a line that looks like one of this stream."""
    file = ResumeFile(tmp_path / "resume.json", STREAM)
    with (tmp_path / "out.jsonl").open("ab", buffering=0) as output:
        output.write(line(9, "insert").encode())
        file.save({"_data": "8265F000000001"}, output.fileno())
        assert file.settle(output.fileno(), inserts) == {"_data": "8265F000000001"}


def test_a_field_named_as_a_type_hides_no_token(tmp_path: Path) -> None:
    file = ResumeFile(tmp_path / "resume.json", STREAM)
    file.save({"_data": "8265F000000001"})
    with (tmp_path / "out.jsonl").open("ab", buffering=0) as output:
        output.write(line(2, "insert", **{"$oid": 5, "$date": "x"}).encode())
        assert file.settle(output.fileno(), inserts) == {"_data": "8265F000000002"}


def test_the_place_of_another_stream_is_known_as_such(tmp_path: Path) -> None:
    path = tmp_path / "resume.json"
    ResumeFile(path, STREAM).save(OLD)
    assert ResumeFile(path, STREAM).is_of_this_stream
    for other in (
        StreamName("b:1", STREAM.namespace, STREAM.match),
        StreamName(STREAM.deployment, "shop.other", STREAM.match),
        StreamName(STREAM.deployment, STREAM.namespace, "op:delete"),
    ):
        file = ResumeFile(path, other)
        assert not file.is_of_this_stream
        assert file.load() == OLD
    path.write_text(json_line(OLD))  # as earlier versions wrote it
    assert ResumeFile(path, STREAM).is_of_this_stream


class Numbered:
    """A source of some events, each of which takes a minute."""

    def __init__(self, count: int, clock: list[float]) -> None:
        self._left = count
        self._given = 0
        self._clock = clock

    @property
    def position(self) -> Start:
        return Start(token={"_data": f"82{self._given:04d}"})

    @property
    def is_at_end(self) -> bool:
        return self._given == self._left

    def feed_take(self, _timeout_seconds: float) -> list[FeedItem]:
        self._given += 1
        self._clock[0] += 60.0
        return [ChangeEvent.from_raw({"_id": self.position.token, "operationType": "insert"})]

    def feed_close(self) -> None:
        pass


@pytest.mark.parametrize("fails", [2, 99])
def test_a_full_disk_keeps_no_event_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fails: int
) -> None:
    """The place is kept again once there is room; where there is none to the end, that is an error."""
    clock, left = [0.0], [fails]

    def fsync(_handle: int) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr("console.commands.events.lines.time.monotonic", lambda: clock[0])
    file = ResumeFile(tmp_path / "resume")
    lines = EventLines(file, lambda _: True, LineForm.RELAXED)
    source = cast(Any, Numbered(5, clock))
    if fails == 99:
        with pytest.raises(UsageError, match="No space left on device"):
            lines.run(lambda _: source)
    else:
        assert lines.run(lambda _: source) == 0
        assert file.load() == {"_data": "820005"}
    told = capsys.readouterr()
    assert told.out.count("insert") == 5
    assert told.err.count("No space left on device: events go on, and come again after a restart") == 1
    assert ("is kept again" in told.err) is (fails != 99)
