"""The window of uploads: the same rows whatever is repeated, in order, and never a document that is gone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st

from console.events.event import ChangeEvent
from console.events.feed_items import SNAPSHOT_WINDOW, FeedItem, FeedState, Snapshot
from console.models import UnreadableUpload, Upload, UploadStatus, read_upload
from console.ui.backend import PageGroup, PageQuery
from console.ui.uploads.uploads_pane import UploadSource
from console.ui.uploads.uploads_window import FINISHED, MOST_FOUND, WAITING, UploadRows, matches, newest, order_of
from tests.ui.fake_backend import NOW, FakeBackend, document

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
                document(8, status="completed", filename="as new, later id", finished_at=NOW - MINUTE),
                {"_id": {"odd": [1]}, "status": 7},
            ]
        )
    )
    waiting = ["urgent", "waits longer", "waits"]
    assert names(rows) == ["runs", "paused", *waiting, "as new, later id", "newer", "older", "?"]


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
    too_deep = {"multipart.upload_id.x": 1}  # is left to the next image
    update = {"updatedFields": {"current": 9, "multipart.part_size": 8, **too_deep}, "removedFields": ["etag"]}
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
    query = rows.wanted_page(0)
    assert query is not None
    assert (query.group, query.text) == (PageGroup.WAITING, "late")
    rows.extend(query, backend.page(query))
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
    assert rows.wanted_page(len(rows) - 1) is None
    assert rows.is_cut


def test_a_page_leaves_what_is_held_as_it_is_and_is_the_last_if_it_brings_nothing_new() -> None:
    """It was read before the event came, and is late."""
    documents = [document(n, created_at=NOW + n * MINUTE) for n in range(1, SNAPSHOT_WINDOW + 1)]
    rows = UploadRows()
    rows.apply(Snapshot(list(documents)))
    query = rows.wanted_page(len(rows) - 1)
    assert query is not None
    rows.apply(FakeBackend(documents).event("update", documents[0]["_id"], None, documents[0] | {"priority": 7}))
    rows.extend(query, list(documents[: query.limit]))
    row = rows.row(documents[0]["_id"])
    assert isinstance(row, Upload)
    assert row.priority == 7
    assert rows.wanted_page(len(rows) - 1) is None


def test_a_document_that_a_page_holds_twice_is_held_once_and_the_others_as_they_are() -> None:
    """Its place in the order changed while the page was read."""
    documents = [document(n, created_at=NOW + n * MINUTE) for n in range(1, SNAPSHOT_WINDOW + 51)]
    rows = UploadRows()
    rows.apply(Snapshot(list(documents[:SNAPSHOT_WINDOW])))
    query = rows.wanted_page(len(rows) - 1)
    assert query is not None
    page = documents[SNAPSHOT_WINDOW:]
    rows.extend(query, [page[0], *page])
    assert len(rows) == len(documents)
    assert all(rows.document(found["_id"]) == found for found in documents)


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
    for rows in (at_once, one_by_one):
        running = {row.id for row in rows.rows() if isinstance(row, Upload) and row.status is UploadStatus.UPLOADING}
        assert {row.id for row in rows.uploading()} == running


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


def paged(rows: UploadRows, backend: FakeBackend, most: int = 50) -> int:
    """Ask for pages at the end of the table, as somebody does who presses End; gives how many came."""
    for page in range(most):
        query = rows.wanted_page(max(0, len(rows) - 1))
        if query is None:
            return page
        rows.extend(query, backend.page(query))
    return most


def waiting_and_held(number: int) -> tuple[FakeBackend, UploadRows]:
    """A collection of so many waiting uploads, and the table after one page more than the snapshot."""
    documents = [document(n, created_at=NOW + n * MINUTE) for n in range(1, number + 1)]
    backend = FakeBackend(documents)
    backend.feed_take(0)
    rows = UploadRows()
    rows.apply(Snapshot(list(documents[:SNAPSHOT_WINDOW])))
    assert paged(rows, backend, 1) == 1
    return backend, rows


@pytest.mark.parametrize("action", ["delete", "cancel", "sooner", "all sooner", "all later"])
def test_whatever_becomes_of_the_row_at_the_frontier_the_rest_is_reached(action: str) -> None:
    backend, rows = waiting_and_held(2_000)
    last = rows.key(len(rows) - 1)
    match action:
        case "delete":
            backend.remove(last)
        case "cancel":
            backend.change(last, status="cancelled", finished_at=NOW)
        case "sooner":
            backend.change(last, priority=1)
        case _:
            backend.set_priority([row.id for row in rows.rows()], 1 if action == "all sooner" else -1)
    rows.apply_all(backend.feed_take(0))
    paged(rows, backend)
    assert {key: rows.document(key) for key in shown(rows)} == backend.documents


def test_a_row_that_goes_behind_the_frontier_is_kept_and_the_rows_before_it_come() -> None:
    backend, rows = waiting_and_held(1_200)
    first = rows.key(0)
    backend.change(first, priority=-1)
    rows.apply_all(backend.feed_take(0))
    assert rows.index_of(first) == len(rows) - 1 == 999
    paged(rows, backend)
    assert rows.index_of(first) == len(rows) - 1 == 1_199


def test_a_page_is_not_cut_away_again_and_the_table_says_that_it_ends() -> None:
    documents = [document(n, status="completed") for n in range(1, 4_001)]
    backend = FakeBackend(documents)
    rows = UploadRows(capacity=1_000)
    rows.apply(Snapshot(list(documents[:SNAPSHOT_WINDOW])))
    assert paged(rows, backend) == 2
    assert rows.is_cut
    assert [rows.document(key) for key in shown(rows)] == documents[:1_500]
    assert rows.wanted_page(0) is None
    assert not rows.is_cut
    rows.filter("photo-3999")
    assert paged(rows, backend) == 1
    assert names(rows) == ["photo-3999.jpg"]


def test_the_group_that_somebody_reads_grows_at_the_cost_of_the_other() -> None:
    waiting = [document(n, created_at=NOW + n * MINUTE) for n in range(1, 901)]
    finished = [document(n, status="completed") for n in range(1_001, 4_001)]
    backend = FakeBackend([*waiting, *finished])
    rows = UploadRows(capacity=1_000)
    rows.apply(Snapshot([*waiting[:400], *finished[:SNAPSHOT_WINDOW]]))
    for doc in waiting[400:]:
        rows.apply(backend.event("insert", doc["_id"], None, doc))
    assert paged(rows, backend) > 0
    assert rows.held <= 1_500
    assert names(rows)[:200] == [doc["filename"] for doc in waiting[:200]]
    assert names(rows)[-1] == "photo-2000.jpg"
    # Those that were let go come back where somebody reads the waiting ones.
    for cursor in (150, 650):
        query = rows.wanted_page(cursor)
        assert query is not None
        rows.extend(query, backend.page(query))
    assert [name for name in names(rows) if name < "photo-0901"] == [doc["filename"] for doc in waiting]


def test_paused_uploads_that_cannot_be_let_go_cost_no_search_with_every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = FakeBackend()
    backend.feed_take(0)
    rows = UploadRows(capacity=100)
    shrinks: list[int] = []
    shrink = rows._shrink
    monkeypatch.setattr(rows, "_shrink", lambda: shrinks.append(rows.held) or shrink())  # type: ignore[func-returns-value]
    for number in range(1, 2_500):
        rows.apply(backend.event("insert", number, None, document(number, status="paused")))
    assert len(shrinks) <= 5


def test_the_answer_to_an_older_question_leaves_no_hole() -> None:
    backend, rows = waiting_and_held(2_000)
    query = rows.wanted_page(len(rows) - 1)
    assert query is not None
    rows.apply(Snapshot(list(backend.documents.values())[:SNAPSHOT_WINDOW]))
    rows.extend(query, backend.page(query))
    assert len(rows) == SNAPSHOT_WINDOW
    paged(rows, backend)
    assert {key: rows.document(key) for key in shown(rows)} == backend.documents


def test_what_happens_while_a_page_is_under_way_is_not_lost() -> None:
    backend, rows = waiting_and_held(1_500)
    query = rows.wanted_page(len(rows) - 1)
    assert query is not None
    page = backend.page(query)
    backend.remove(key_of(1_200))
    backend.change(key_of(1_201), error={"code": "SlowDown", "message": "later", "at": NOW})
    backend.insert(document(1_600, created_at=NOW + 1_200 * MINUTE))
    rows.apply_all(backend.feed_take(0))
    rows.extend(query, page)
    paged(rows, backend)
    assert {key: rows.document(key) for key in shown(rows)} == backend.documents


def key_of(number: int) -> ObjectId:
    return ObjectId(f"{number:024x}")


def test_nothing_is_said_to_match_before_all_pages_were_asked_for() -> None:
    documents = [document(n, status="completed") for n in range(1, SNAPSHOT_WINDOW + 100)]
    backend = FakeBackend(documents)
    backend.feed_take(0)
    rows = UploadRows()
    rows.apply(Snapshot(list(documents[:SNAPSHOT_WINDOW])))
    source = UploadSource(rows, lambda: datetime.now(UTC))
    source.arrived = True
    rows.filter("no such name")
    assert source.empty_text() == "searching…"
    paged(rows, backend)
    assert len(rows) == 0
    assert source.empty_text() == "nothing matches"


def test_what_the_filter_finds_comes_by_pages_too_and_is_bounded() -> None:
    documents = [document(n, status="completed", host="beta" if n % 2 else "alpha") for n in range(1, 7_001)]
    backend = FakeBackend(documents)
    backend.feed_take(0)
    rows = UploadRows()
    rows.apply(Snapshot(list(documents[:SNAPSHOT_WINDOW])))
    rows.filter("beta")
    assert paged(rows, backend, 1) == 1
    assert len(rows) == 750
    assert rows.wanted_page(0) is None
    assert paged(rows, backend) == MOST_FOUND // 500 - 1
    assert len(rows) == 250 + MOST_FOUND
    assert rows.is_cut
    rows.filter("beta photo-69")
    assert paged(rows, backend) == 1
    assert len(rows) == 50
    assert rows.held <= SNAPSHOT_WINDOW + MOST_FOUND


def test_marked_rows_stay_when_the_filter_that_found_them_goes() -> None:
    backend, rows = waiting_and_held(2_000)
    rows.filter("photo-1999")
    assert paged(rows, backend) == 1
    rows.filter("", frozenset({key_of(1_999)}))
    assert len(rows) == 1_001
    assert rows.row(key_of(1_999)) is not None


numbers = st.integers(1, 24)
doings = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), numbers, st.just("")),
        st.tuples(st.just("change"), numbers, st.sampled_from([*map(str, UploadStatus), "pending", "completed"])),
        st.tuples(st.just("filter"), numbers, st.sampled_from(["", "alpha", "beta", "beta completed"])),
        st.tuples(st.sampled_from(["ask", "answer", "feed", "feed"]), numbers, st.just("")),
        st.tuples(st.just("snapshot"), numbers, st.just("")),
    ),
    max_size=60,
)


@given(doings)
@settings(max_examples=200, deadline=None)
def test_up_to_its_frontiers_the_table_is_what_the_collection_is(made: list[tuple[str, int, str]]) -> None:
    """Whatever happens in whatever order; a page is answered as the collection was when it was asked for."""
    small: dict[str, Any] = {"PAGE": 3, "SNAPSHOT_WINDOW": 3, "WAITING_RESERVE": 2, "MOST_FOUND": 6}
    with (
        patch.multiple("console.ui.uploads.uploads_window", **small),
        patch("console.ui.uploads.uploads_window.NEAR_ROWS", 2),
    ):
        backend = FakeBackend([document(n, host=["alpha", "beta"][n % 2]) for n in range(1, 12)])
        rows = UploadRows(capacity=6)
        snapshot(backend, rows)
        under_way: tuple[PageQuery, list[Any]] | None = None
        for action, number, word in made:
            doc = backend.documents.get(key_of(number))
            if action == "delete" and doc is not None:
                backend.remove(key_of(number))
            elif action == "change" and doc is not None:
                finished = NOW + number * MINUTE if UploadStatus(word).is_terminal else None
                backend.change(key_of(number), status=word, finished_at=finished, priority=(number + len(word)) % 3)
            elif action == "change":
                backend.insert(document(number, status=word, host=["alpha", "beta"][number % 2]))
            elif action == "filter":
                rows.filter(word)
            elif action == "ask" and under_way is None and (query := rows.wanted_page(number)) is not None:
                # The server answers when the feed has brought what came before.
                rows.apply_all(backend.feed_take(0))
                under_way = (query, backend.page(query))
            elif action == "answer" and under_way is not None:
                rows.apply_all(backend.feed_take(0))
                rows.extend(*under_way)
                under_way = None
            elif action == "feed":
                rows.apply_all(backend.feed_take(0))
            elif action == "snapshot":
                snapshot(backend, rows)
        rows.apply_all(backend.feed_take(0))
        if under_way is not None:
            rows.extend(*under_way)
        for key, doc in backend.documents.items():
            row = read_upload(doc)
            order = order_of(row)
            rank = int(order[0])
            found = bool(rows.text) and matches(row, rows.text.split())
            page_bound = (rows._matching if found else rows._page_bounds).get(rank)
            if page_bound is None or order <= page_bound.order:
                assert rows.document(key) == doc
        assert all(rows.document(row.id) == backend.documents.get(row.id) for row in rows.rows())
        assert sum(order_of(row)[0] in (WAITING, FINISHED) for row in rows.rows()) <= 6 + 3 + 6 + 24


def snapshot(backend: FakeBackend, rows: UploadRows) -> None:
    """The feed begins again: with the near ends of the long groups, and all of the others."""
    backend.feed_take(0)
    others = [doc for doc in backend.documents.values() if doc["status"] in ("uploading", "paused")]
    pages = (backend.page(PageQuery(group, None, "", 3)) for group in PageGroup)
    rows.apply(Snapshot([*others, *(doc for page in pages for doc in page)]))
