"""Documents of any BSON type in any field, also as live changes of rows that are shown: nothing raises, each has one
row, and none is left of those that are gone."""

from __future__ import annotations

from typing import Any

import bson
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from console.bson_decoding import decode
from console.commands.list import _table
from console.events.bson_values import fingerprint
from console.events.buffer import EventBuffer
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, Lookup, Snapshot
from console.events.filter import parse_filter
from console.events.text import json_line, json_text
from console.models import Upload, changed_upload, read_upload
from console.runner.wakeups import concerns_runner
from console.settings import S3Settings
from console.ui.events.compare_rows import CompareRows
from console.ui.events.log_rows import LogRows
from console.ui.uploads.upload_detail import record_lines
from console.ui.uploads.uploads_pane import UploadSource
from console.ui.uploads.uploads_window import UploadRows, matches, newest
from console.ui.widgets.text_screen import TextRows
from console.watch.service import concerns_watches
from tests.events.strategies import texts, values

from .fake_backend import HOST, NOW, document

FIELDS = [*document(1), "lease.runner", "lease.expires_at", "error.code", "error.at", "checksum.value", "watch.rule"]
FIELDS += ["multipart.upload_id", "multipart.part_size", "storage.tags", "started_at", "finished_at", "path_bytes", "x"]
# What JSON and Python take for another type: no less odd than the rest, and more likely to be met.
lookalikes = st.sampled_from(
    [["pending"], {"a": 1}, "9" * 400, 10**15, 2**62, -1, 1e300, float("inf"), "2026-01-01", {"$oid": "x"}, [{}]]
)
any_value = st.one_of(values, lookalikes, texts.map(lambda text: text * 50))
changes = st.dictionaries(st.sampled_from(FIELDS), any_value, min_size=1, max_size=3)
FILTERS = [parse_filter(line) for line in ("", "x", "op:update", "field:status", "-ns:d", '{"fullDocument.size": 1}')]


def with_values(number: int, fields: dict[str, Any]) -> dict[str, Any]:
    """One of our documents, with other values in some places, as it comes from the server."""
    made: dict[str, Any] = document(number)
    for path, value in fields.items():
        name, _, inner = path.partition(".")
        if not inner:
            made[name] = value
        elif isinstance(made.get(name), dict):
            made[name] = {**made[name], inner: value}
        else:
            made[name] = {inner: value}
    return decode(bson.encode(made))


def event(operation: str, after: dict[str, Any], update: dict[str, Any] | None = None) -> ChangeEvent:
    raw: dict[str, Any] = {
        "_id": {"_data": "82"},
        "operationType": operation,
        "ns": {"db": "d", "coll": "c"},
        "documentKey": {"_id": after["_id"]},
        "fullDocument": after if update is None and operation != "delete" else None,
    }
    if update is not None:
        raw["updateDescription"] = {"updatedFields": update, "removedFields": [], "truncatedArrays": []}
    return ChangeEvent.from_raw(decode(bson.encode(raw)))


def draw_all(rows: UploadRows) -> None:
    """Everything that the table and the details make of what is held."""
    source = UploadSource(rows, lambda: NOW)
    for index in range(len(source)):
        row = rows.row(source.key(index))
        assert row is not None
        source.version(index)
        for column in source.columns:
            for width in (9, 80):
                assert all(isinstance(span.text, str) for span in source.cell(index, column.key, width))
        assert all(isinstance(text, str) for line in record_lines(row, NOW) for text in line)
        matches(row, ["x"])


def draw_log(items: list[FeedItem]) -> None:
    """Everything that the log makes of events, and what a line of JSON does."""
    log = LogRows(100)
    log.add(items, NOW)
    for index in range(len(log)):
        for column in log.columns:
            log.cell(index, column.key, 40)
    buffer: EventBuffer[Any] = EventBuffer(100)
    for item in items:
        if isinstance(item, ChangeEvent):
            buffer.append([item])
            buffer.history(item)
            json_line(item.raw)
            json_line(item.raw, relaxed=True)
            json_text(item.raw, relaxed=True)
            for each in FILTERS:
                each.matches(item)
            concerns_runner(item, HOST)
            concerns_watches(item, HOST)


def draw_details(before: dict[str, Any] | None, item: ChangeEvent) -> None:
    """Everything that the tabs of an event make of it: the comparison, folded and not, and the texts."""
    raw = {**item.raw, "fullDocumentBeforeChange": before}
    compared = ChangeEvent.from_raw(decode(bson.encode(raw)))
    for width in (40, 160):
        for fold_same in (True, False):
            rows = CompareRows(compared, width=width, fold_same=fold_same, notes=["a note"])
            assert rows.first_change is None or rows.index_of(rows.first_change) is not None
            for index in range(len(rows)):
                for column in rows.columns:
                    assert all(isinstance(span.text, str) for span in rows.cell(index, column.key, 30))
                rows.whole(index)
                rows.value(index)
                rows.whole_values(rows.key(index))
            for key in [rows.key(index) for index in range(len(rows))]:
                rows.toggle(key)
    for value in (compared.before, compared.after, compared.raw):
        text = TextRows(json_text(value, relaxed=True) if value is not None else "", width=60)
        for index in range(min(len(text), 50)):
            text.cell(index, text.columns[0].key, 60)


@given(changes, changes)
@settings(max_examples=250)
def test_events_of_any_document_are_shown_in_detail(earlier: dict[str, Any], later: dict[str, Any]) -> None:
    before, after = with_values(1, earlier), {**with_values(1, later), "_id": with_values(1, earlier)["_id"]}
    update = {path: value for path, value in later.items() if path.partition(".")[0] != "_id"}
    draw_details(before, event("replace", after))
    draw_details(before, event("update", after, update))
    draw_details(None, event("insert", after))
    draw_details(before, event("delete", before))
    draw_details(None, event("delete", before))


@given(st.lists(changes, min_size=1, max_size=4), changes, st.text("ax", max_size=2))
@settings(max_examples=250)
def test_documents_of_any_type_are_shown_and_changed(
    made: list[dict[str, Any]], later: dict[str, Any], text: str
) -> None:
    documents = [with_values(number, fields) for number, fields in enumerate(made, 1)]
    rows = UploadRows()
    rows.filter(text)
    rows.filter("")
    rows.apply(Snapshot(documents))
    assert len(rows) == len({fingerprint(each["_id"]) for each in documents})
    draw_all(rows)
    first = documents[0]
    update = {path: value for path, value in later.items() if path.partition(".")[0] != "_id"}
    changed = {**with_values(1, later), "_id": first["_id"]}
    live: list[FeedItem] = [
        event("insert", first),
        event("update", first, update),
        event("replace", changed),
        Lookup([changed]),
        event("update", changed, {}),
    ]
    rows.apply_all(newest(live))
    for item in live:
        rows.apply(item)
    draw_all(rows)
    draw_log(live)
    if isinstance(upload := read_upload(first), Upload):
        changed_upload(upload, update)
    rows.wanted_page(0)
    _table(documents, S3Settings(), NOW, 80)
    for each in documents:
        rows.apply(event("delete", each))
    assert len(rows) == 0


@given(st.lists(any_value.filter(lambda value: not isinstance(value, list)), min_size=1, max_size=6))
@settings(max_examples=500)
def test_ids_of_any_type_are_told_apart(ids: list[Any]) -> None:
    """As the server does, whose `_id`s are never arrays; and however often one is told of, it has one row."""
    rows = UploadRows()
    documents = [decode(bson.encode({**document(1), "_id": each})) for each in ids]
    for each in (*documents, *documents):
        rows.apply(event("insert", each))
    assert len(rows) == len({fingerprint(each["_id"]) for each in documents})
    for each in documents:
        rows.apply(event("delete", each))
    assert len(rows) == 0


@given(st.binary(max_size=60), st.integers(0, 200))
@settings(max_examples=500)
def test_bytes_that_are_no_bson_hide_nothing_beside_them(noise: bytes, place: int) -> None:
    """Whatever is broken in a document, its reader gets a document; what comes before the break is as it was."""
    whole = bson.encode({"_id": ObjectId(b"x" * 12), "filename": "seen", "inner": {"a": [1, "b"]}, "end": 1})
    begins = whole.index(b"inner") - 1  # behind `_id` and `filename`
    at = begins + place % (len(whole) - begins)
    broken = (whole[:at] + noise + whole[at + len(noise) :])[: len(whole)]
    found = decode(broken)
    assert (found["_id"], found["filename"]) == (ObjectId(b"x" * 12), "seen")
    rows = UploadRows()
    rows.apply(Snapshot([found, document(2)]))
    assert len(rows) == 2
    draw_all(rows)
