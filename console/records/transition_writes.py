"""How a runner's transitions reach MongoDB: many in few statements, and what came of each.

Owns the statements, what is refused of them, and how a write whose answer was lost is told from one that did not take
place. Not here: when they are written, and what waits meanwhile (`writer`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from bson import ObjectId
from bson.errors import BSONError
from pymongo import UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure, PyMongoError, WriteConcernError

from console.models import UploadStatus
from console.records.connection import MAJORITY, Document
from console.records.transitions import Fields, Filter, held_by, may_become, together

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Transition:
    """What shall become of an upload that is held by claim `attempt`; `outcome` tells whether it did."""

    id: ObjectId
    attempt: int
    fields: Fields
    lets_go: bool
    outcome: Future[bool] = field(default_factory=Future)


class TransitionWrites:
    """The statements of one runner, confirmed by the majority."""

    def __init__(self, collection: Collection[Document], runner: str) -> None:
        self._collection = collection.with_options(write_concern=MAJORITY)
        self._runner = runner

    def write(self, batch: Sequence[Transition]) -> None:
        """Write them, at most one for each upload, and tell their outcomes.

        Raises:
            PyMongoError: the server is away. What has no outcome yet is to be written again.
        """
        for alike in _alike(batch):
            self._write_together(alike)
        batch = [item for item in batch if not item.outcome.done()]
        if not batch:
            return
        operations = [UpdateOne(self.mine(item.id, item.attempt), [{"$set": item.fields}]) for item in batch]
        try:
            matched = self._collection.bulk_write(operations, ordered=False).matched_count
        except BulkWriteError as error:
            matched = -1
            for refused in error.details.get("writeErrors", ()):
                item = batch[refused["index"]]
                _log.error("a transition of %s is refused: %s", item.id, refused["errmsg"])
                item.outcome.set_exception(OperationFailure(refused["errmsg"], refused["code"]))
            if error.details.get("writeConcernErrors"):
                raise ConnectionFailure("the majority has not confirmed yet") from error
        except PyMongoError:
            raise
        except Exception as error:  # noqa: BLE001 - BSON refuses a value: that must not keep the others waiting
            self._write_one_by_one(batch, error)
            return
        self._tell_outcomes(batch, is_all=matched == len(batch))

    def mine(self, upload_id: ObjectId, attempt: int) -> Filter:
        """The document, while it is held by that claim."""
        return {"_id": upload_id, **held_by(self._runner, attempt)}

    def is_mine(self, document: Mapping[str, Any], attempt: int) -> bool:
        """Whether it is held by that claim."""
        is_same_claim = _runner_of(document) == self._runner and document.get("attempts") == attempt
        return is_same_claim and document.get("status") == UploadStatus.UPLOADING

    def read_back(self, ids: Iterable[ObjectId]) -> dict[ObjectId, Document]:
        """Who holds the documents by now, of those that exist."""
        wanted = {"_id": {"$in": list(ids)}}
        cursor = self._collection.find(wanted, {"status": 1, "lease": 1, "attempts": 1})
        return {document["_id"]: document for document in cursor}

    def _write_together(self, items: Sequence[Transition]) -> None:
        """One statement for all. What the server refuses of it is left to be written item by item."""
        ids = [item.id for item in items]
        wanted: Filter = {"_id": {"$in": ids}, **held_by(self._runner, items[0].attempt)}
        change = together(ids, [item.fields for item in items])
        try:
            matched = self._collection.update_many(wanted, [{"$set": change}]).matched_count
        except WriteConcernError as error:
            raise ConnectionFailure("the majority has not confirmed yet") from error
        except (OperationFailure, BSONError, OverflowError):
            return
        self._tell_outcomes(items, is_all=matched == len(items))

    def _tell_outcomes(self, items: Sequence[Transition], *, is_all: bool) -> None:
        found = {} if is_all else self.read_back(item.id for item in items)
        for item in items:
            if not item.outcome.done():
                item.outcome.set_result(is_all or self._took_place(item, found.get(item.id)))

    def _write_one_by_one(self, batch: Sequence[Transition], error: Exception) -> None:
        if len(batch) == 1:
            _log.error("a transition of %s cannot be written: %s", batch[0].id, error)
            batch[0].outcome.set_exception(error)
            return
        for item in batch:
            self.write([item])

    def _took_place(self, item: Transition, document: Mapping[str, Any] | None) -> bool:
        """After a write whose answer was lost its repetition matches nothing: look whether its effect is there.

        Where a person settled the upload meanwhile just as the transition would have, that is as good.
        """
        if document is None or not item.lets_go:
            return document is not None and self.is_mine(document, item.attempt)
        if _runner_of(document) is not None or document.get("attempts") != item.attempt:
            return False
        return document.get("status") in may_become(item.fields["status"])


def _alike(batch: Sequence[Transition]) -> list[list[Transition]]:
    """Completions that may be one statement: of many small files they come by the hundred."""
    groups: dict[tuple[Any, ...], list[Transition]] = {}
    for item in batch:
        if item.fields.get("status") == UploadStatus.COMPLETED:
            groups.setdefault((item.attempt, *item.fields), []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def _runner_of(document: Mapping[str, Any]) -> Any:
    lease = document.get("lease")
    return lease.get("runner") if isinstance(lease, Mapping) else None
