"""A source of feed items that ends where it was told to, and one that records what passes.

Owns `--until`, `--limit` and `--record`, for streams and replays alike. Not here: the sources themselves
(`event_stream`, `event_replay`), the files of a recording (`events.recording`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

from console.commands.event_stream import Source
from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, Gap
from console.events.recording import Recorder, recorded_files
from console.events.resume_file import last_token
from console.events.since import Start, is_before


class Bounded:
    """A source up to a moment (the first that is no longer wanted) or up to a number of events."""

    def __init__(self, source: Source, until: datetime | None, limit: int | None) -> None:
        self._source = source
        self._until = until
        self._left = limit
        self._cut_at: Start | None = None
        self._is_at_end = False
        self.title = source.title

    @property
    def position(self) -> Start:
        """After all that was given, which may be less than was taken."""
        return self._cut_at or self._source.position

    @property
    def is_at_end(self) -> bool:
        """Whether all was given that will ever come."""
        return self._is_at_end or self._source.is_at_end

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What came and is within the bounds."""
        if self._cut_at is not None:
            return []
        place = self._source.position
        given: list[FeedItem] = []
        items = self._source.feed_take(timeout_seconds)
        for item in items:
            if isinstance(item, ChangeEvent):
                if self._left == 0 or not self._is_wanted(item):
                    self._is_at_end, self._cut_at = True, place
                    return given
                place = Start(token=item.token)
                self._left = self._left - 1 if self._left is not None else None
            given.append(item)
        if self._left == 0:
            self._is_at_end, self._cut_at = True, place
        elif self._until is not None and not items:
            self._is_at_end = self._source.is_past(self._until)
        return given

    def feed_close(self) -> None:
        """End the source."""
        self._source.feed_close()

    def is_past(self, moment: datetime) -> bool:
        """As the source."""
        return self._source.is_past(moment)

    def _is_wanted(self, event: ChangeEvent) -> bool:
        return self._until is None or is_before(event, self._until)


class Recorded:
    """A source of which everything is recorded before anybody sees it."""

    def __init__(self, source: Source, path: Path, is_own: Callable[[ChangeEvent], bool] | None = None) -> None:
        """`is_own`, where the stream is resumed: which events an earlier reader of it may have recorded that it had not
        written when it was killed.

        Raises `UsageError` where the file cannot be written.
        """
        self._recorder = Recorder(path)
        self._writing = Lock()  # a screen takes in a thread of its own
        last = _last_recorded(path, is_own) if is_own is not None else None
        self._has_up_to = str(last["_data"]) if last is not None else ""
        self._source = source
        self.title = source.title

    @property
    def position(self) -> Start:
        """As the source."""
        return self._source.position

    @property
    def is_at_end(self) -> bool:
        """As the source."""
        return self._source.is_at_end

    def feed_take(self, timeout_seconds: float) -> list[FeedItem]:
        """What came. Raises also `RecordingFailed`."""
        items = self._source.feed_take(timeout_seconds)
        with self._writing:
            self._recorder.write(self._new(items))
        return items

    def feed_close(self) -> None:
        """End the source and the recording."""
        self._source.feed_close()
        with self._writing:
            self._recorder.close()

    def is_past(self, moment: datetime) -> bool:
        """As the source."""
        return self._source.is_past(moment)

    def _new(self, items: list[FeedItem]) -> Iterator[ChangeEvent | Gap]:
        for item in items:
            # Tokens of one stream order as text (see `events.resume_file`).
            if isinstance(item, Gap) or (isinstance(item, ChangeEvent) and str(item.token["_data"]) > self._has_up_to):
                yield item


def _last_recorded(path: Path, is_own: Callable[[ChangeEvent], bool]) -> Mapping[str, Any] | None:
    for file in reversed(recorded_files(path)):
        if file.stat().st_size:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return last_token(descriptor, is_own)
            finally:
                os.close(descriptor)
    return None
