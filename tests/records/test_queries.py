"""The queries that run all the time are served by indexes: their cost does not grow with what is done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from console.models import Requested, UploadStatus
from console.records import uploads as store
from console.records.transitions import claimable, claimable_elsewhere, held_by, needs_cleanup, unsettled, within_hours
from tests.records.documents import HOST, new_upload

DONE = 400
WAITING = 50


@pytest.fixture
def filled(uploads):
    """Much that is done, some that waits, nothing under way."""
    now = datetime.now(UTC)
    ended = {"finished_at": now}
    documents = [new_upload().document(now, UploadStatus.COMPLETED) | ended for _ in range(DONE)]
    documents += [new_upload().document(now, UploadStatus.CANCELLED) | ended for _ in range(DONE)]
    documents += [new_upload().document(now) for _ in range(WAITING)]
    uploads.collection.insert_many(documents)
    uploads.collection.update_many({"status": "cancelled"}, {"$set": {"requested": "cancel"}})
    return uploads


def stages(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["stage"]
    for inner in [*filter(None, [plan.get("inputStage")]), *plan.get("inputStages", [])]:
        yield from stages(inner)


ORDERED = {
    "claim": (claimable(HOST), store._WAITING_ORDER, 10),
    "claim within hours": ({"$and": [claimable(HOST), within_hours(600)]}, store._WAITING_ORDER, 10),
    "claim of dead runners": (claimable(HOST, ["dead"]), store._WAITING_ORDER, 10),
    "what waits": ({"status": "pending"}, store._WAITING_ORDER, 10),
    "what is done": ({"status": {"$in": store._FINISHED}}, store._FINISHED_ORDER, 10),
}
FEW = {
    "unsettled": unsettled(),
    "unsettled of dead runners": unsettled(["dead"]),
    "needs_cleanup": needs_cleanup(),
    "stalled": {"host": {"$ne": HOST}, **claimable_elsewhere()},
    "requested": {"lease.runner": "r", "requested": {"$in": [Requested.PAUSE.value, Requested.CANCEL.value]}},
    "held": held_by("r"),
    "multipart ids": {"bucket": "bucket", "multipart.upload_id": {"$exists": True}},
}


@pytest.mark.parametrize("name", ORDERED)
def test_ordered_queries_read_what_they_give_and_sort_nothing(filled, name):
    wanted, order, limit = ORDERED[name]
    explained = filled.collection.find(wanted).sort(order).limit(limit).explain()
    assert not {"SORT", "COLLSCAN"} & set(stages(explained["queryPlanner"]["winningPlan"]))
    assert explained["executionStats"]["nReturned"] == limit
    assert explained["executionStats"]["totalDocsExamined"] <= limit + 5


@pytest.mark.parametrize("name", FEW)
def test_queries_for_the_few_under_way_read_next_to_nothing(filled, name):
    explained = filled.collection.find(FEW[name]).explain()
    assert "COLLSCAN" not in set(stages(explained["queryPlanner"]["winningPlan"]))
    assert explained["executionStats"]["totalDocsExamined"] <= 5


def test_progress_touches_no_index(filled):
    written = {"current", "percentage", "rate", "updated_at", "lease.expires_at"}
    keys = {field for index in filled.collection.list_indexes() for field in index["key"]}
    assert not keys & written
