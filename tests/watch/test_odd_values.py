"""Files with odd dates, and records with values that are none of ours: each fails alone, if at all."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

import pytest
from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st
from pymongo import UpdateOne

from console.records.watched_files import Record
from console.watch.completeness import Found, PendingFiles
from console.watch.reporting import NoteKind
from tests.watch.conftest import World
from tests.watch.waiting import until

YEARS = {"y33658": 999_999_999_999, "y2300": 10_413_792_000, "y1890": -2_524_521_600, "y1970": 0}

VALUES: list[Any] = [
    *(None, True, 7, Int64(-1), 1.5, float("inf"), float("-inf"), float("nan"), "text", "", b"\xff", Binary(b"x", 5)),
    *([], ["pause"], {}, {"$oid": "x"}, ObjectId(), Decimal128("NaN"), Decimal128("1e6000"), Code("f", {"a": 1})),
    *(Regex("("), Timestamp(1, 1), MinKey(), MaxKey(), DBRef("a", 1), DatetimeMS(2**62), datetime(1, 1, 1, tzinfo=UTC)),
]
FIELDS = [
    *("path_bytes", "host", "key", "size", "mtime_ns", "fingerprint", "status", "requested", "error", "created_at"),
    *("finished_at", "multipart", "watch.rule", "watch.ctime_ns", "watch.found_as", "checksum", "folder_length"),
]


@pytest.fixture
def far_dates() -> Iterator[Path]:
    """A folder whose file system takes any date."""
    if not os.path.isdir("/dev/shm"):
        pytest.skip("there is no /dev/shm")
    folder = Path(mkdtemp(dir="/dev/shm"))
    yield folder
    rmtree(folder)


@pytest.mark.parametrize("template", ["{relative_path}", "{mtime:%Y}/{relative_path}"])
def test_files_of_any_year_are_sent_or_refused_alone(world: World, far_dates: Path, template: str) -> None:
    for name, moment in YEARS.items():
        path = far_dates / name
        path.write_text(name)
        os.utime(path, (moment, moment))
    (far_dates / "ordinary").write_text("ordinary")
    world.run()
    service = world.watch(world.rule(folder=far_dates, key_template=template, changed="version"))
    names = {*YEARS, "ordinary"} - ({"y33658"} if "mtime" in template else set())
    world.completed(len(names))
    world.settle(service)
    assert {document["filename"] for document in world.documents()} == names
    refused = {note.path: note.message for note in world.notes.of(NoteKind.REFUSED)}
    assert list(refused) == [str(far_dates / "y33658")] * ("mtime" in template)
    assert all("outside the years 1 to 9999" in words for words in refused.values())
    for name in names - {"ordinary"}:
        (far_dates / name).write_text("changed")
        os.utime(far_dates / name, (YEARS[name] + 1,) * 2)
    documents = world.completed(2 * len(names) - 1)
    assert {document["filename"] for document in documents} == names


def test_files_of_any_year_are_deleted_once_they_are_sent(world: World, far_dates: Path) -> None:
    for name, moment in YEARS.items():
        path = far_dates / name
        path.write_text(name)
        os.utime(path, (moment, moment))
    world.run()
    world.watch(world.rule(folder=far_dates, after="delete"))
    until(lambda: not list(far_dates.iterdir()))
    assert {document["filename"] for document in world.completed(len(YEARS))} == set(YEARS)


def test_a_date_in_the_future_keeps_no_file_waiting_for_ever() -> None:
    now = time.time_ns()
    hour = 3600 * 10**9
    file = Found("/in/a", "a", 1, 10_413_792_000 * 10**9, now - hour, (1, 1))
    assert PendingFiles(quiet_seconds=5).look(file)
    assert PendingFiles(minimum_age_seconds=60).look(file)
    assert not PendingFiles(minimum_age_seconds=7200).look(file)
    assert PendingFiles(complete_when="marked").look(file, now - hour)
    assert not PendingFiles(complete_when="marked").look(file, now - 2 * hour)


def with_value(document: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    outer, _, inner = field.partition(".")
    return {**document, outer: {**document[outer], inner: value} if inner else value}


def test_whatever_others_write_into_a_record_its_file_and_all_others_are_sent(world: World) -> None:
    path = world.write("template", age_seconds=600)
    service = world.watch()
    (document,) = until(lambda: world.documents())
    service.stop()
    uploads = world.records.uploads.collection
    uploads.delete_many({})
    path.unlink()
    poisoned = []
    for field in FIELDS:
        for number, value in enumerate(VALUES):
            name = f"{field}-{number}"
            written = world.write(name, age_seconds=600)
            watch = {**document["watch"], "digest": name}
            base = {**document, "_id": ObjectId(), "path": str(written), "filename": name, "key": name, "watch": watch}
            poisoned.append(with_value({**base, "status": "completed"}, field, value))
    uploads.database.command("collMod", uploads.name, validationLevel="off")
    uploads.insert_many(poisoned)
    world.write("good", age_seconds=600)
    service = world.watch(world.rule(after="keep"))
    until(lambda: world.documents(filename="good"))
    world.settle(service)
    assert not [note.message for note in world.notes.of(NoteKind.TROUBLE)]
    assert not world.notes.of(NoteKind.REFUSED)


def test_whatever_others_change_in_a_record_a_watch_that_runs_goes_on(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The same as live changes: the watch hears of each, and of uploads that end among them."""
    world.write("first", age_seconds=600)
    world.run()
    service = world.watch(world.rule(after="keep"))
    (document,) = world.completed(1)
    uploads = world.records.uploads.collection
    uploads.database.command("collMod", uploads.name, validationLevel="off")
    copies = [
        {**document, "_id": ObjectId(), "watch": {**document["watch"], "digest": f"{field}-{number}"}, "field": field}
        for field in FIELDS
        for number in range(len(VALUES))
    ]
    uploads.insert_many(copies)
    changes = [
        UpdateOne({"_id": copy["_id"]}, {"$set": {copy["field"]: VALUES[place % len(VALUES)], "updated_at": 1}})
        for place, copy in enumerate(copies)
        if not (isinstance(value := VALUES[place % len(VALUES)], dict) and any(key[:1] == "$" for key in value))
    ]
    uploads.bulk_write(changes, ordered=False)
    world.write("second", age_seconds=600)
    until(lambda: world.documents(filename="second", status="completed"))
    until(lambda: "second" in world.notes.paths(NoteKind.COMPLETED) or world.notes.of(NoteKind.COMPLETED)[1:])
    world.settle(service)
    assert not [record.message for record in caplog.records if "fault" in record.message]
    assert not [note.message for note in world.notes.of(NoteKind.TROUBLE)]


ANY = st.recursive(
    st.sampled_from(VALUES) | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["_id", "path", "watch", "error", "multipart", *FIELDS]), ANY))
def test_a_record_is_read_or_its_wrong_field_is_named(fields: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    good = {
        "_id": ObjectId(),
        "path": "/a",
        "host": "h",
        "key": "a",
        "size": 1,
        "mtime_ns": 1,
        "fingerprint": "f",
        "status": "completed",
        "requested": "run",
        "created_at": now,
        "watch": {"scope": "h", "digest": "d"},
    }
    document: dict[str, Any] = {**good, **{name: value for name, value in fields.items() if "." not in name}}
    try:
        record = Record.read(document)
    except ValueError as error:
        problem = str(error)
    else:
        problem = ""
        file = Found("/a", "a", 1, 1, 1, (1, 1))
        assert record.is_of(file) in (True, False)
        assert record.is_this_very(file) in (True, False)
        assert isinstance(record.former_path, str)
        assert isinstance(record.waits_for_its_file, bool)
        assert (record.created_at, record.id) < (datetime.max.replace(tzinfo=UTC), ObjectId("f" * 24))
    assert not problem or any(problem.startswith(f"{name.partition('.')[2] or name}:") for name in (*document, *FIELDS))
