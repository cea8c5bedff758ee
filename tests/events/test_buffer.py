"""The buffer of events against a plain list that does the same without any terminal_diff."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from typing import Any

import bson
import pytest
from bson import DatetimeMS, Int64, ObjectId
from hypothesis import given
from hypothesis import strategies as st

from console.events.buffer import BufferView, EventBuffer
from console.events.event import ChangeEvent
from console.events.filter import Filter, parse_filter

from .strategies import documents

Entry = ChangeEvent | str
FILTERS = [
    parse_filter(line) for line in ("op:update", "key:1", "field:a", "-op:update text:x", '{"fullDocument.a": 2}')
]


def event(operation: str = "insert", key: Any = 1, collection: str = "c", **fields: Any) -> ChangeEvent:
    return ChangeEvent.from_raw(
        {"operationType": operation, "ns": {"db": "d", "coll": collection}, "documentKey": {"_id": key}, **fields}
    )


def passing(entries: list[Entry], wanted: Filter, first: int) -> list[int]:
    return [
        number
        for number, entry in enumerate(entries)
        if number >= first and (isinstance(entry, str) or wanted.matches(entry))
    ]


entries = st.one_of(
    st.just("a notice"),
    st.builds(
        event,
        st.sampled_from(["insert", "update", "delete", "drop"]),
        st.sampled_from([1, 2, Int64(1), "1", None]),
        st.sampled_from(["c", "other"]),
        fullDocument=st.dictionaries(st.sampled_from("ab"), st.sampled_from([1, 2, "x"])),
        updateDescription=st.fixed_dictionaries({"updatedFields": st.dictionaries(st.sampled_from("ab"), st.just(1))}),
    ),
    st.just(ChangeEvent.from_raw({"operationType": "invalidate"})),
)
steps = st.lists(st.lists(entries, max_size=6) | st.sampled_from(FILTERS) | st.integers(1, 5), max_size=12)


@given(steps, st.integers(1, 12))
def test_against_a_plain_list(steps: list[Any], capacity: int) -> None:
    buffer: EventBuffer[str] = EventBuffer(capacity)
    came: list[Entry] = []
    views: list[BufferView[str]] = [buffer.view(Filter())]
    for step in steps:
        if isinstance(step, Filter):
            views.append(buffer.view(step))
        elif isinstance(step, int):
            for view in views:
                view.scan(step)
        else:
            buffer.append(step)
            came.extend(step)
        assert buffer.total == len(came)
        assert len(buffer) == min(capacity, len(came))
    first = buffer.first
    assert first == max(0, len(came) - capacity)
    assert [buffer[number] for number in range(first, buffer.total)] == came[first:]
    for view in views:
        while view.scan(2):
            pass
        wanted = passing(came, view.filter, first)
        assert [view[position] for position in range(len(view))] == wanted
        for number in range(buffer.total + 2):
            assert view.position(number) == sum(1 for each in wanted if each < number)
    for number in range(first, buffer.total):
        entry = came[number]
        if isinstance(entry, ChangeEvent):
            assert buffer.history(entry) == [
                other
                for other in range(first, buffer.total)
                if isinstance(each := came[other], ChangeEvent) and same_document(each, entry)
            ]


def same_document(first: ChangeEvent, second: ChangeEvent) -> bool:
    keys = [bson.encode(each.document_key) if each.document_key is not None else None for each in (first, second)]
    return first.namespace == second.namespace and keys[0] == keys[1] and keys[0] is not None


@given(
    st.lists(entries, max_size=20), st.sampled_from([Filter(), *FILTERS]), st.sampled_from(FILTERS), st.integers(1, 9)
)
def test_searching_steps_through_all_that_fit(came: list[Entry], shown: Filter, wanted: Filter, most: int) -> None:
    buffer: EventBuffer[str] = EventBuffer()
    buffer.append(came)
    view = buffer.view(shown)
    view.scan()

    def everything(backwards: bool) -> list[int]:
        found = []
        start: int | None = buffer.total if backwards else -1
        while start is not None:
            result = view.search(wanted, start, backwards=backwards, most=most)
            if result.number is not None:
                found.append(result.number)
            start = result.number if result.number is not None else result.resume
        return found

    fitting = [
        number for number, entry in enumerate(came)
        if isinstance(entry, ChangeEvent) and shown.matches(entry) and wanted.matches(entry)
    ]  # fmt: skip
    assert everything(backwards=False) == fitting
    assert everything(backwards=True) == fitting[::-1]


@given(documents)
def test_events_come_out_as_they_went_in(document: dict[str, Any]) -> None:
    buffer: EventBuffer[str] = EventBuffer()
    went_in = event("replace", key=document, fullDocument=document, extra={"far": DatetimeMS(2**60)})
    buffer.append([went_in])
    came_out = buffer[0]
    assert isinstance(came_out, ChangeEvent)
    assert bson.encode(came_out.raw) == bson.encode(went_in.raw)
    assert buffer.history(came_out) == [0]


def test_what_was_let_go_is_counted_and_gone() -> None:
    buffer: EventBuffer[str] = EventBuffer(capacity=3)
    buffer.append(event(key=n % 2) for n in range(10))
    assert (buffer.first, buffer.total, len(buffer)) == (7, 10, 3)
    assert 6 not in buffer
    assert 7 in buffer
    with pytest.raises(KeyError):
        buffer[6]
    with pytest.raises(KeyError):
        buffer[10]
    last = buffer[9]
    assert isinstance(last, ChangeEvent)
    assert buffer.history(last) == [7, 9]


def test_memory_is_bounded_too() -> None:
    buffer: EventBuffer[str] = EventBuffer(max_bytes=100_000)
    buffer.append(event(key=n, fullDocument={"noise": ObjectId().binary * 4, "n": n}) for n in range(1000))
    held = [buffer[number] for number in range(buffer.first, buffer.total)]
    assert sum(len(bson.encode(entry.raw)) for entry in held if isinstance(entry, ChangeEvent)) <= 100_000
    assert buffer.first > 500
    buffer.append([event(key=5, fullDocument={"noise": bytes(range(256)) * 4000}) for _ in range(3)])
    assert len(buffer) >= 1


def test_a_view_shows_the_end_before_it_has_seen_all() -> None:
    buffer: EventBuffer[str] = EventBuffer()
    buffer.append(event(key=n) for n in range(100))
    view = buffer.view(parse_filter("key:7"))
    assert view.unseen == 100
    assert view.scan(10) == 90
    assert [view[n] for n in range(len(view))] == [97]
    buffer.append([event(key=70), event(key=1)])
    assert [view[n] for n in range(len(view))] == [97, 100]
    assert view.scan(1000) == 0
    assert view[0] == 7


def test_what_passes_and_what_an_event_is_after_its_document_changed_its_keys() -> None:
    buffer: EventBuffer[str] = EventBuffer()
    sharded = [
        ChangeEvent.from_raw({"operationType": "update", "ns": {"db": "d", "coll": "c"}, "documentKey": key})
        for key in ({"region": "eu", "_id": 1}, {"region": "us", "_id": 1}, {"region": "us", "_id": 2})
    ]
    buffer.append(sharded)
    assert buffer.history(sharded[0]) == [0, 1]


def test_text_that_is_no_unicode_is_kept_as_it_is() -> None:
    buffer: EventBuffer[str] = EventBuffer()
    broken = event(key="\udc80", fullDocument={"a": "\ud800"})
    buffer.append([broken, broken])
    assert buffer[0] is broken
    assert buffer.history(broken) == [0, 1]
    view = buffer.view(parse_filter("key:x"))
    assert view.scan() == 0
    assert len(view) == 0


def test_namespaces_are_known() -> None:
    buffer: EventBuffer[str] = EventBuffer()
    buffer.append([event(collection="a"), event(collection="b"), event(collection="a"), "notice"])
    assert buffer.namespaces == {"d.a", "d.b"}


def test_an_event_like_those_before_it_takes_little_room():
    def updates(count: int) -> Iterator[ChangeEvent]:
        for number in range(count):
            before = {f"field-{place}": f"a value of field {place}" for place in range(25)}
            after = before | {"number": number, "text": f"{number:032x}"}
            yield event("update", key=number % 100, fullDocument=after, fullDocumentBeforeChange=before)

    buffer: EventBuffer[str] = EventBuffer()
    tracemalloc.start()
    try:
        buffer.append(updates(5_000))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / 5_000 < 700
    assert [buffer[number].raw for number in (0, 1, 2, 999, 4_999)] == [
        each.raw for number, each in enumerate(updates(5_000)) if number in (0, 1, 2, 999, 4_999)
    ]


def test_large_events_leave_room_for_what_they_take_while_they_come() -> None:
    """Of 20 MiB at most a fourth is of large events; small ones may have nearly all of it."""
    large, small = (EventBuffer[object](max_bytes=20 * 2**20) for _ in range(2))
    for number in range(150):
        raw = {"operationType": "insert", "fullDocument": {"_id": number, "body": os.urandom(100_000)}}
        large.append([ChangeEvent.from_raw(raw)])
    for number in range(5_000):
        raw = {"operationType": "insert", "fullDocument": {"_id": number, "body": os.urandom(1_000)}}
        small.append([ChangeEvent.from_raw(raw)])
    assert 45 <= len(large) <= 55
    assert len(small) == 5_000
