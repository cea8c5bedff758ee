"""Reading a change feed in tests: until something was seen, and what a reader would have then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState, Snapshot
from console.stream.feed import ChangeFeed

PATIENCE = 60.0


def take_until(feed: ChangeFeed, is_enough: Callable[[list[FeedItem]], object], most: int = 5_000) -> list[FeedItem]:
    """What the feed gives, up to and with the batch that makes it enough."""
    items: list[FeedItem] = []
    deadline = time.monotonic() + PATIENCE
    while not (items and is_enough(items)):
        assert time.monotonic() < deadline, f"not enough: {items[-20:]}"
        items += feed.take(1.0, most)
    return items


def opened(items: Sequence[FeedItem]) -> bool:
    return any(isinstance(item, FeedState) and item.connected for item in items)


def events(items: Sequence[FeedItem]) -> list[ChangeEvent]:
    return [item for item in items if isinstance(item, ChangeEvent)]


def ids(items: Sequence[FeedItem]) -> list[Any]:
    """The `_id`s of the documents that events are about."""
    return [event.document_id for event in events(items) if event.document_key is not None]


def replay(items: Sequence[FeedItem]) -> dict[Any, dict[str, Any]]:
    """The documents as a reader has them who applies the items."""
    documents: dict[Any, dict[str, Any]] = {}
    for item in items:
        if isinstance(item, Snapshot):
            documents = {document["_id"]: dict(document) for document in item.documents}
        elif isinstance(item, ChangeEvent) and item.after is not None:
            documents[item.document_id] = dict(item.after)
        elif isinstance(item, ChangeEvent) and item.operation == "delete":
            documents.pop(item.document_id, None)
    return documents
