"""Every command and a runner beside documents that have any BSON type in any field: a thousand of them and more."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bson
from bson import Binary, Code, Decimal128, Int64, MaxKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument

from console.bson_decoding import EVENT_CODEC
from console.models import UploadStatus
from console.records.database import Records
from console.records.identity import this_host
from console.stream.feed import ChangeFeed
from tests.commands.conftest import Command
from tests.records.documents import new_upload
from tests.records.feeds import opened, take_until

ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    Int64(2**63 - 1),
    1e300,
    float("nan"),
    float("inf"),
    Decimal128("NaN"),
    "",
    "9" * 400,
    "$size",
    "2026-01-01",
    b"\xff",
    Binary(b"x" * 16, 4),
    [],
    ["pending", "run", "pause"],
    {},
    {"upload_id": ["x"], "runner": {"a": 1}, "expires_at": "soon", "digest": 5, "$oid": "x"},
    ObjectId(b"o" * 12),
    Code("pending"),
    Code("f()", {"x": 1}),
    Regex("pending"),
    Timestamp(1, 1),
    MaxKey(),
    bson.DatetimeMS(2**60),
]
MALFORMED = b"\x05b\0" + struct.pack("<i", 3) + b"\x02xxx"


def odd_documents(records: Records) -> list[RawBSONDocument | dict[str, Any]]:
    """One of ours for each field and value, and some with ids that are not ours, or that no driver can decode."""
    now = records.connection.clock.now()
    made: list[RawBSONDocument | dict[str, Any]] = []
    for state in ("pending", "uploading", "cancelled"):
        whole = new_upload(host=this_host()).document(now) | {"status": state}
        for name in (*whole, "lease", "watch", "storage", "path_bytes"):
            for value in ODD:
                document = whole | {"_id": ObjectId(), name: value}
                made.append(document)
        raw = bson.encode(whole | {"_id": ObjectId()})[4:-1] + MALFORMED
        made.append(RawBSONDocument(struct.pack("<i", len(raw) + 5) + raw + b"\0"))
    return made


def insert(records: Records, documents: list[Any]) -> int:
    """Put them there behind the validator's back; what the server does not take (an `_id` that is a list) is left."""
    inserted = 0
    collection = records.uploads.collection
    for start in range(0, len(documents), 500):
        portion = documents[start : start + 500]
        answer = collection.database.command(
            "insert",
            collection.name,
            documents=portion,
            bypassDocumentValidation=True,
            ordered=False,
            codec_options=EVENT_CODEC,
        )
        inserted += answer["n"]
    return inserted


def test_every_command_works_beside_them(command: Command, records: Records, tmp_path: Path) -> None:
    number = insert(records, odd_documents(records))
    assert number > 2_000
    listed = command("list", "--json", "--limit", "0")
    assert listed.code == 0
    assert len([json.loads(line) for line in listed.out.splitlines()]) == number
    assert command("list", "--limit", "0").out.count("\n") > number
    file = tmp_path / "good"
    file.write_bytes(b"x")
    assert command("upload", str(file)).code == 0
    (good,) = records.uploads.find({"path": str(file)})
    assert good["status"] == "completed"
    end = str(good["_id"])[-8:]
    assert command("verify", end).code == 0
    for arguments in (
        ("pause", "--all"),
        ("resume", "--all", "--detach"),
        ("retry", "--all", "--detach"),
        ("priority", "--all"),
        ("cancel", "--all"),
        ("delete", end, "--yes"),
    ):
        answer = command(*arguments)
        assert answer.error is None, arguments
        assert answer.code in (0, 1), (arguments, answer.err)
    assert re.search("1 upload deleted", command("delete", end, "--yes").out) is None


def test_a_runner_goes_on_beside_them(records: Records) -> None:
    insert(records, odd_documents(records))
    uploads = records.uploads
    (good,) = uploads.add([new_upload(host=this_host(), priority=2**31 - 1)])
    claimed: list[ObjectId] = []
    while taken := uploads.claim("r", this_host(), lease_seconds=60, slots=200, most_bytes_ahead=2**40):
        claimed += [upload.id for upload in taken]
    assert good in claimed
    assert uploads.requested_of("r") is not None
    for ask in (uploads.lease_holders, uploads.expired, lambda host: uploads.stalled(host, {})):
        ask("elsewhere")  # type: ignore[operator]
    uploads.settle(["x"])
    assert set(uploads.counts()) == set(UploadStatus)
    assert uploads.window()


def test_a_stream_brings_them_all(records: Records) -> None:
    documents: list[Mapping[str, Any]] = [each for each in odd_documents(records) if isinstance(each, dict)][:300]
    feed = ChangeFeed(records.uploads.collection, snapshot=records.uploads.window)
    feed.start()
    try:
        take_until(feed, opened)
        number = insert(records, list(documents))
        items = take_until(feed, lambda items: len(items) >= number)
        assert len(items) == number
    finally:
        feed.close()
