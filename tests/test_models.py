"""Reading documents, also those that others wrote wrongly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from hypothesis import given
from hypothesis import strategies as st

from console.bson_decoding import EVENT_CODEC, lean
from console.models import Requested, Source, UnreadableUpload, Upload, UploadStatus, changed_upload, read_upload
from console.records.uploads import NewUpload

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def document(**changes):
    new = NewUpload("a.txt", "/x/a.txt", None, "here", 5, 1, "f", "text/plain", "b", "k/a.txt", Source.COMMAND)
    return {**new.document(NOW), **changes}


moments = st.datetimes(timezones=st.just(UTC))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    st.binary(),
    moments,
    st.integers(-(2**62), 2**62).map(DatetimeMS),
    st.sampled_from([ObjectId(), Decimal128("NaN"), MaxKey(), Regex("("), Timestamp(1, 1), Int64(2**62)]),
    st.sampled_from([*UploadStatus, *Requested, *Source]).map(lambda word: word.value),
)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10)
nests = lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=3))  # noqa: E731
values = st.recursive(scalars, nests, max_leaves=8)


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(document())), names), values))
def test_any_document_reads_as_something(broken):
    found = read_upload(broken)
    assert isinstance(found, Upload | UnreadableUpload)
    if isinstance(found, UnreadableUpload):
        assert found.problem
        assert found.document is broken


@given(st.sampled_from(sorted(set(document()) - {"_id"})), values)
def test_an_upload_that_was_spoiled_after_its_making_reads_and_can_be_shown(field, value):
    stored = bson.decode(bson.encode(document(**{field: value})), EVENT_CODEC)
    found = read_upload(stored)
    if isinstance(found, Upload):
        assert found.destination.startswith("s3://")
        assert found.os_path is not None
        assert found.seconds_left is None or found.seconds_left >= 0 or found.current > found.size
        moments = (found.created_at, found.started_at, found.updated_at, found.finished_at)
        assert sorted(moment for moment in moments if moment is not None)  # all of them compare
    else:
        assert found.id == stored["_id"]
        assert found.problem.startswith(field)


def test_what_the_program_writes_reads_back():
    upload = read_upload(bson.decode(bson.encode(document()), EVENT_CODEC))
    assert isinstance(upload, Upload)
    assert (upload.status, upload.requested) == (UploadStatus.PENDING, Requested.RUN)
    assert upload.created_at == NOW
    assert upload.seconds_left is None


def test_a_name_that_is_no_utf8_opens_by_its_bytes():
    upload = read_upload(document(path="/x/caf\\xe9", path_bytes=b"/x/caf\xe9"))
    assert isinstance(upload, Upload)
    assert upload.os_path == "/x/caf\udce9"


def test_a_moment_without_a_zone_is_utc():
    upload = read_upload(document(created_at=NOW.replace(tzinfo=None)))
    assert isinstance(upload, Upload)
    assert upload.created_at == NOW


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"status": "done"}, "status"),
        ({"size": -1}, "size"),
        ({"size": "1" * 400}, "size"),
        ({"size": True}, "size"),
        ({"created_at": "2026-11-24T12:00:00"}, "created_at"),
        ({"rate": float("nan")}, "rate"),
        ({"multipart": {"upload_id": "x"}}, "multipart.part_size"),
        ({"lease": {"runner": 1, "expires_at": NOW}}, "lease.runner"),
        ({"_id": "other"}, "_id"),
    ],
)
def test_the_problem_names_the_field(changes, problem):
    found = read_upload(document(**changes))
    assert isinstance(found, UnreadableUpload)
    assert found.problem.startswith(f"{problem}: ")


def test_terminal_states():
    assert {status for status in UploadStatus if status.is_terminal} == {
        UploadStatus.COMPLETED,
        UploadStatus.FAILED,
        UploadStatus.CANCELLED,
    }


class TestChangedUpload:
    """An update event applied to what was known before."""

    later = document()["updated_at"] + timedelta(seconds=1)

    def test_fields_that_are_set_whole(self):
        before = document(status="uploading")
        checksum = {"algorithm": "CRC32", "value": "x=="}
        updated = {"status": "completed", "checksum": checksum, "lease": None, "updated_at": self.later}
        assert changed_upload(read_upload(before), updated) == read_upload({**before, **updated})

    def test_a_renewed_lease_is_no_reason_to_look(self):
        before = read_upload(document())
        assert changed_upload(before, {"lease.expires_at": self.later}) == before

    @pytest.mark.parametrize(
        "updated",
        [
            {"error.at": later},
            {"status": "nonsense"},
            {"size": -1},
            {"somebody": "else's"},
            {"updated_at": later - timedelta(days=1)},
        ],
        ids=lambda updated: next(iter(updated)),
    )
    def test_what_takes_a_look_at_the_document(self, updated):
        assert changed_upload(read_upload(document()), updated) is None


@pytest.mark.parametrize(
    "large",
    [
        {"note": "x" * 2**20},
        {"note": {"inner": [b"x" * 2**20]}},
        {"note": list(range(10**6))},
        {f"field{number}": "x" * 1000 for number in range(1000)},
    ],
)
def test_what_others_keep_in_a_document_is_no_burden_for_a_list_of_them(large: dict[str, Any]) -> None:
    document = {"_id": ObjectId(), "filename": "letter.txt", **large}
    kept = lean(document)
    assert (kept["_id"], kept["filename"]) == (document["_id"], "letter.txt")
    assert len(bson.encode(kept)) < 80_000
    ours = {"_id": ObjectId(), "path": "x" * 4096, "key": "x" * 1024, "lease": {"runner": "x" * 100}, "size": 1}
    assert lean(ours) is ours
