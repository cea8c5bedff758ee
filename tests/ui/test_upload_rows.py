"""The window of uploads: the same rows whatever is repeated, in order, and never a document that is gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from console.events.event import ChangeEvent
from console.events.feed_items import SNAPSHOT_WINDOW, FeedItem, FeedState, Snapshot
from console.models import UnreadableUpload, Upload, UploadStatus
from console.ui.backend import PageGroup
from console.ui.upload_order import newest, order_of
from console.ui.upload_rows import UploadRows, matches

from .fake_backend import NOW, FakeBackend, document

MINUTE = timedelta(minutes=1)


def shown(rows: UploadRows) -> list[Any]:
    return [rows.key(index) for index in range(len(rows))]


def names(rows: UploadRows) -> list[str]:
    found = (rows.row(key) for key in shown(rows))
    return [row.filename if isinstance(row, Upload) else "?" for row in found if row is not None]


class History:
    """A collection that is changed at random, and the events of it."""

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.backend.feed_take(0)

    def step(self, number: int, action: str, status: str) -> FeedItem | None:
        key = ObjectId(f"{number:024x}")
        if action == "delete":
            if key not in self.backend.documents:
                return None
            self.backend.remove(key)
        elif key in self.backend.documents:
            finished = NOW if UploadStatus(status).is_terminal else None
            self.backend.change(key, status=status, finished_at=finished, priority=number % 3)
        else:
            self.backend.insert(document(number, status=status))
        return self.backend.feed_take(0)[0]


steps = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["change", "change", "delete"]), st.sampled_from(list(UploadStatus))),
    max_size=25,
)


@given(steps, st.integers(0, 25), st.integers(0, 25))
@settings(max_examples=60)
def test_a_snapshot_and_the_events_around_it_give_what_the_collection_holds(
    made: list[tuple[int, str, str]], snapshot_at: int, replay_from: int
) -> None:
    """The feed may repeat events from before the snapshot: all that counts is where it ends."""
    history = History()
    events: list[FeedItem] = []
    snapshot, seen = Snapshot([]), 0
    for number, step in enumerate(made):
        if number == snapshot_at:
            snapshot, seen = Snapshot([dict(doc) for doc in history.backend.documents.values()]), len(events)
        item = history.step(*step)
        if item is not None:
            events.append(item)
    rows = UploadRows()
    rows.apply(snapshot)
    for item in events[min(replay_from, seen) :]:
        rows.apply(item)
    assert {key: rows.document(key) for key in shown(rows)} == history.backend.documents


@given(steps)
@settings(max_examples=60)
def test_applying_every_event_twice_changes_nothing_and_rows_are_in_order(made: list[tuple[int, str, str]]) -> None:
    history = History()
    once, twice = UploadRows(), UploadRows()
    for step in made:
        item = history.step(*step)
        if item is not None:
            once.apply(item)
            twice.apply(item)
            twice.apply(item)
    assert shown(once) == shown(twice)
    orders = [order_of(row) for key in shown(once) if (row := once.row(key)) is not None]
    assert orders == sorted(orders)
    assert all(once.index_of(key) == index for index, key in enumerate(shown(once)))


def test_what_runs_is_on_top_then_paused_then_waiting_then_the_newest_finished() -> None:
    rows = UploadRows()
    rows.apply(
        Snapshot(
            [
                document(1, status="completed", filename="older", finished_at=NOW - 2 * MINUTE),
                document(2, status="failed", filename="newer", finished_at=NOW - MINUTE),
                document(3, filename="waits", created_at=NOW - MINUTE),
                document(4, filename="waits longer", created_at=NOW - 2 * MINUTE),
                document(5, filename="urgent", priority=1, created_at=NOW),
                document(6, status="paused", filename="paused"),
                document(7, status="uploading", filename="runs"),
                {"_id": {"odd": [1]}, "status": 7},
            ]
        )
    )
    assert names(rows) == ["runs", "paused", "urgent", "waits longer", "waits", "newer", "older", "?"]


def test_documents_that_others_wrote_are_rows_that_say_what_is_wrong() -> None:
    rows = UploadRows()
    rows.apply(Snapshot([{"_id": {"a": 1}, "filename": 3}, {"_id": 7}]))
    held = list(rows.rows())
    assert len(held) == 2
    assert all(isinstance(row, UnreadableUpload) and row.problem for row in held)


def test_an_update_without_its_image_is_applied_to_what_is_held() -> None:
    backend = FakeBackend()
    rows = UploadRows()
    multipart = {"upload_id": "u", "part_size": 5}
    doc = document(1, status="uploading", current=1, multipart=multipart)
    rows.apply(Snapshot([doc]))
    update = {"updatedFields": {"current": 9, "multipart.part_size": 8}, "removedFields": ["etag"]}
    rows.apply(backend.event("update", doc["_id"], None, None, update))
    row = rows.row(doc["_id"])
    assert isinstance(row, Upload)
    assert row.current == 9
    assert row.multipart is not None
    assert row.multipart.part_size == 8
    unknown = backend.event("update", ObjectId(), None, None, update)
    rows.apply(unknown)
    assert len(rows) == 1


def test_a_dropped_collection_leaves_nothing() -> None:
    rows = UploadRows()
    rows.apply(Snapshot([document(1)]))
    rows.apply(FeedState(False, "away"))
    assert len(rows) == 1
    rows.apply(ChangeEvent.from_raw({"operationType": "drop", "ns": {"db": "upload_console", "coll": "uploads"}}))
    assert len(rows) == 0


def test_the_filter_wants_every_word_in_name_destination_host_status_or_error() -> None:
    error = {"code": "AccessDenied", "message": "no", "at": NOW}
    rows = UploadRows()
    rows.apply(
        Snapshot([document(1, filename="Übersicht.pdf"), document(2, status="failed", error=error, host="beta")])
    )
    for text, expected in (("beta denied", 1), ("FAILED", 1), ("photos", 2), ("photos nothing", 0)):
        rows.filter(text)
        assert len(rows) == expected, text
    rows.filter("")
    assert len(rows) == 2
    upload = rows.row(ObjectId(f"{2:024x}"))
    assert upload is not None
    assert matches(upload, ["accessdenied"])


def test_a_full_snapshot_is_paged_to_the_end_and_holds_every_document_once() -> None:
    documents = [document(n, status="completed") for n in range(1, SNAPSHOT_WINDOW + 701)]
    backend = FakeBackend(documents)
    rows = UploadRows()
    newest = sorted(documents, key=lambda doc: doc["finished_at"], reverse=True)
    rows.apply(Snapshot(list(newest[:SNAPSHOT_WINDOW])))
    assert rows.wanted_page(0) is None
    pages = 0
    while (query := rows.wanted_page(len(rows) - 1)) is not None:
        assert query.group is PageGroup.FINISHED
        rows.extend(query, backend.page(query))
        pages += 1
    assert pages == 2
    assert [rows.document(key) for key in shown(rows)] == newest


def test_waiting_uploads_are_fetched_before_the_held_ones_run_out() -> None:
    documents = [document(n, created_at=NOW + n * MINUTE) for n in range(1, SNAPSHOT_WINDOW + 401)]
    backend = FakeBackend(documents)
    rows = UploadRows()
    rows.apply(Snapshot(list(documents[:SNAPSHOT_WINDOW])))
    for doc in documents[: SNAPSHOT_WINDOW - 100]:
        backend.change(doc["_id"], status="completed", finished_at=NOW)
    for item in backend.feed_take(0)[2:]:
        rows.apply(item)
    query = rows.wanted_page(0)
    assert query is not None
    assert query.group is PageGroup.WAITING
    rows.extend(query, backend.page(query))
    waiting = [row for row in rows.rows() if isinstance(row, Upload) and row.status is UploadStatus.PENDING]
    assert len(waiting) == 500


def test_a_document_behind_the_frontier_is_left_to_its_page() -> None:
    documents = [document(n, created_at=NOW + n * MINUTE) for n in range(1, SNAPSHOT_WINDOW + 1)]
    backend = FakeBackend(documents)
    backend.feed_take(0)
    rows = UploadRows()
    rows.apply(Snapshot(list(documents)))
    backend.insert(document(9_999, created_at=NOW + timedelta(days=30), filename="late.bin"))
    for item in backend.feed_take(0):
        rows.apply(item)
    assert len(rows) == SNAPSHOT_WINDOW
    rows.filter("late")
    queries = rows.wanted_matches()
    assert [query.group for query in queries] == [PageGroup.WAITING]
    rows.extend(queries[0], [doc for doc in backend.documents.values() if doc["filename"] == "late.bin"])
    assert names(rows) == ["late.bin"]
    rows.filter("")
    assert len(rows) == SNAPSHOT_WINDOW


def test_the_window_stays_bounded_and_lets_go_of_the_oldest_finished() -> None:
    backend = FakeBackend()
    backend.feed_take(0)
    rows = UploadRows(capacity=100)
    rows.apply(Snapshot([document(1, status="uploading")]))
    for number in range(2, 1_500):
        backend.insert(document(number, status="completed", finished_at=NOW + number * MINUTE))
    for item in backend.feed_take(0):
        rows.apply(item)
    assert 100 <= rows.held <= 601
    assert names(rows)[:2] == ["photo-0001.jpg", "photo-1499.jpg"]
    assert rows.wanted_page(len(rows) - 1) is not None


@given(steps)
@settings(max_examples=60)
def test_the_newest_of_a_batch_give_the_same_rows_as_all_of_it(made: list[tuple[int, str, str]]) -> None:
    history = History()
    events = [item for step in made if (item := history.step(*step)) is not None]
    at_once, one_by_one = UploadRows(), UploadRows()
    at_once.apply_all(events)
    for item in events:
        one_by_one.apply(item)
    assert [at_once.row(key) for key in shown(at_once)] == [one_by_one.row(key) for key in shown(one_by_one)]
    assert list(at_once.uploading()) == [
        row for row in at_once.rows() if isinstance(row, Upload) and row.status is UploadStatus.UPLOADING
    ]


def test_an_update_without_its_image_is_kept_beside_later_ones() -> None:
    backend = FakeBackend([document(1)])
    snapshot = backend.feed_take(0)
    key = ObjectId(f"{1:024x}")
    patches: list[FeedItem] = [
        backend.event("update", key, None, None, {"updatedFields": {name: 7.0}}) for name in ("rate", "percentage")
    ]
    assert newest([*snapshot, *patches]) == [*snapshot, *patches]
    rows = UploadRows()
    rows.apply_all([*snapshot, *patches])
    row = rows.row(key)
    assert isinstance(row, Upload)
    assert (row.rate, row.percentage) == (7.0, 7.0)
