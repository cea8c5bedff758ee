"""Recordings: every line comes back, in order, over rotations, kills and bad lines."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from console.errors import UsageError
from console.events.event import ChangeEvent
from console.events.feed_items import Gap
from console.events.recording import BadLine, Recorder, RecordingFailed, recorded_files, replay

from .strategies import plain_documents


def event(number: int, **fields: Any) -> ChangeEvent:
    return ChangeEvent.from_raw(
        {"_id": {"_data": f"{number:08x}"}, "operationType": "insert", "n": Int64(number), **fields}
    )


def numbers(path: Path) -> list[int]:
    return [int(item.raw["n"]) for item in replay(path) if isinstance(item, ChangeEvent)]


@given(st.lists(plain_documents, max_size=2))
def test_events_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, recorded: list[dict[str, Any]]
) -> None:
    path = tmp_path_factory.mktemp("recording") / "events.jsonl"
    went_in = [event(number, fullDocument=document) for number, document in enumerate(recorded)]
    with Recorder(path) as recorder:
        recorder.write(went_in)
    came_out = list(replay(path))
    assert [bson.encode(item.raw) for item in came_out if isinstance(item, ChangeEvent)] == [
        bson.encode(item.raw) for item in went_in
    ]
    assert len(came_out) == len(went_in)


def test_gaps_are_recorded_too(tmp_path: Path) -> None:
    gaps = [Gap("history lost", None, datetime(2026, 1, 2, tzinfo=UTC)), Gap("x")]
    with Recorder(tmp_path / "r") as recorder:
        recorder.write([event(1), *gaps])
    assert list(replay(tmp_path / "r"))[1:] == gaps


def test_files_are_rotated_by_size_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with Recorder(path, max_bytes=2_000) as recorder:
        recorder.write(event(number) for number in range(50))
        for number in range(50, 100):
            recorder.write([event(number)])
        recorder.write([event(100, big="x" * 5_000), event(101)])
    files = recorded_files(path)
    assert files[-1] == path
    assert [file.name for file in files[:2]] == ["events.jsonl.000001", "events.jsonl.000002"]
    assert len(files) > 5
    assert numbers(path) == list(range(102))
    sizes = [file.stat().st_size for file in files]
    assert sum(size > 2_000 for size in sizes) == 1
    assert min(sizes[:-3]) > 1_500


def test_a_recording_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for start in range(0, 60, 20):
        with Recorder(path, max_bytes=1_000) as recorder:
            recorder.write(event(number) for number in range(start, start + 20))
    assert numbers(path) == list(range(60))
    assert numbers(recorded_files(path)[0]) == list(range(len(numbers(recorded_files(path)[0]))))


def test_numbers_beyond_their_digits_stay_in_order(tmp_path: Path) -> None:
    for number in (999_999, 1_000_000, 5):
        (tmp_path / f"r.{number:06d}").write_text(f'{{"operationType": "x", "n": {number}}}\n')
    with Recorder(tmp_path / "r", max_bytes=1) as recorder:
        recorder.write([event(7), event(8)])
    assert numbers(tmp_path / "r") == [5, 999_999, 1_000_000, 7, 8]
    assert (tmp_path / "r.1000001").exists()


def test_bad_lines_are_named_and_skipped(tmp_path: Path) -> None:
    path = tmp_path / "r\x1b"
    lines = [
        '{"operationType": "insert", "n": 1}',
        "no json \x1b[1m",
        "",
        "[1]",
        '{"n": 1}',
        '{"operationType": "insert", "fullDocument": {"_id": {"$oid": "zz"}}}',
        '{"operationType": "insert", "n": {"$numberDecimal": "zz"}}',
        '{"a":' * 100_000,
        '{"operationType": "insert", "n": 2}',
        '{"operationType": "inse',
    ]
    path.write_bytes("\n".join(lines).encode() + b"\xff")
    items = list(replay(path))
    bad = [item for item in items if isinstance(item, BadLine)]
    assert [item.line for item in bad] == [2, 4, 5, 6, 7, 8, 10]
    assert numbers(path) == [1, 2]
    assert str(bad[0]).startswith(f"{tmp_path}/r\\x1b, line 2: not valid extended JSON")
    assert bad[2].reason == "not a change event: no operationType"
    assert bad[-1].reason == "the line was cut off"


def test_a_last_line_without_its_end_is_read(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"operationType": "insert", "n": 1}\r\n{"operationType": "insert", "n": 2}')
    assert numbers(tmp_path / "r") == [1, 2]


def test_relaxed_json_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "r").write_text('{"operationType": "insert", "at": {"$date": "2026-01-02T00:00:00Z"}, "n": 5}\n')
    [item] = replay(tmp_path / "r")
    assert isinstance(item, ChangeEvent)
    assert item.raw["at"] == datetime(2026, 1, 2, tzinfo=UTC)


def test_a_line_that_a_kill_cut_off_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "r"
    path.write_text('{"operationType": "insert", "n": 1}\n{"operationType": "ins')
    with Recorder(path) as recorder:
        recorder.write([event(2)])
    assert numbers(path) == [1, 2]
    assert [item.line for item in replay(path) if isinstance(item, BadLine)] == [2]


def test_a_killed_recorder_has_written_all_that_it_took(tmp_path: Path) -> None:
    program = (
        "import itertools, pathlib, sys; from console.events.event import ChangeEvent\n"
        "from console.events.recording import Recorder\n"
        "recorder = Recorder(pathlib.Path(sys.argv[1]), max_bytes=5_000)\n"
        "for number in itertools.count():\n"
        "    recorder.write([ChangeEvent.from_raw({'operationType': 'insert', 'n': number})])\n"
        "    print(number, flush=True)\n"
    )
    path = tmp_path / "r"
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        taken = next(int(line) for line in process.stdout if int(line) >= 500)
        process.kill()
    found = numbers(path)
    assert found == list(range(len(found)))
    assert len(found) > taken


def test_a_full_disk_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r"
    recorder = Recorder(path)
    recorder.write([event(0)])
    write = os.write
    room = [150]

    def full(file: int, data: Any) -> int:
        if not room[0]:
            raise OSError(28, "No space left on device")
        written = write(file, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RecordingFailed, match="No space left on device") as caught:
        recorder.write(event(number) for number in range(1, 10))
    assert caught.value.exit_code == 1
    monkeypatch.undo()
    with pytest.raises(RecordingFailed, match="closed"):
        recorder.write([event(5)])
    recorder.close()
    found = numbers(path)
    assert found == list(range(len(found)))
    assert 1 < len(found) < 5
    assert not [item for item in replay(path) if isinstance(item, BadLine)]
    with Recorder(path) as again:
        again.write([event(len(found))])
    assert numbers(path) == list(range(len(found) + 1))


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with Recorder(tmp_path / "r"), pytest.raises(UsageError, match="another process"):
        Recorder(tmp_path / "r")


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Is a directory"):
        Recorder(tmp_path)
    with pytest.raises(UsageError, match="nowhere"):
        Recorder(tmp_path / "nowhere" / "r")
    with pytest.raises(UsageError, match="no recording at"):
        list(replay(tmp_path / "r"))
    with pytest.raises(UsageError, match="nowhere"):
        list(replay(tmp_path / "nowhere" / "r"))


def test_an_object_id_stays_one(tmp_path: Path) -> None:
    identity = ObjectId()
    with Recorder(tmp_path / "r") as recorder:
        recorder.write([event(1, documentKey={"_id": identity})])
    [item] = replay(tmp_path / "r")
    assert isinstance(item, ChangeEvent)
    assert item.document_id == identity
