"""How a change stream gets past an event that nobody can read: more carefully each time, as before behind it.

Owns how carefully the stream is read, what it is asked for because of that, and what people are told of the event. Not
here: reading the stream and handing over what it gives (`feed`), what servers are able to do (`stream_options`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, Final

from console.events.event import ChangeEvent
from console.events.feed_items import Gap
from console.events.text import value_text
from console.formatting import visible
from console.records.stream_options import Abilities, image_options

_BATCH: Final = 1000

# What an event has that may be too large: all but who it is.
_DOCUMENTS: Final = ["fullDocument", "fullDocumentBeforeChange", "updateDescription"]


class Step(IntEnum):
    """How carefully the stream is read: one by one up to the event in the way, then that one without its documents."""

    NONE = 0
    ONE_BY_ONE = 1
    WITHOUT_IMAGES = 2
    KEY_ONLY = 3


class Care:
    """What a stream is asked for, and how that changes when an event cannot be read. For one thread.

    A stream holds for one `step`: where it has changed, another one has to be opened. With `images`, events bring
    their documents, and those that are too large come split from servers that can do it.
    """

    def __init__(self, *, images: bool, before: bool = True) -> None:
        self.step = Step.NONE
        self._images = images
        self._before = before
        self._may_split = images
        self._opens_anew = True

    def worsen(self, since: datetime | None, *, was_open: bool) -> Gap | None:
        """An event could not be read: a step more, as long as there is one. Then there is no way past the event, and
        all since the last one that could be read, at `since`, is a gap.

        What an open stream cannot read may be the event after the next: PyMongo reads two where one is asked for
        (`CommandCursor.batch_size`). Opening it anew gives the next one, or fails for its sake.
        """
        if self.step == Step.ONE_BY_ONE and was_open and self._opens_anew:
            self._opens_anew = False  # until an event has come: else it might go on so for ever
            return None
        self._opens_anew = True
        if self.step < Step.KEY_ONLY:
            self.step = Step(self.step + 1)
            return None
        self.relax()
        reason = "an event of over 16 MiB, and others with it: it cannot be passed by"
        return Gap(reason, since=since, until=datetime.now(UTC))

    def passed(self, event: ChangeEvent) -> Gap | None:
        """An event was read. If it had to do without its documents it was the one in the way: a gap that says so."""
        self._opens_anew = True
        if self.step < Step.WITHOUT_IMAGES:
            return None
        self.relax()
        key = value_text(event.document_id) if event.document_key is not None else ""
        name = " ".join(filter(None, (event.operation, visible(event.namespace), key)))
        return Gap(f"an event of over 16 MiB, shown without its documents: {name}")

    def relax(self) -> None:
        """Nothing is in the way: read on as usual."""
        self.step = Step.NONE

    def stop_splitting(self) -> bool:
        """Ask no more for split events; whether they were asked for until now."""
        did_split, self._may_split = self._may_split, False
        return did_split

    def shape(
        self, pipeline: Sequence[Mapping[str, Any]], can: Abilities
    ) -> tuple[list[Mapping[str, Any]], dict[str, Any]]:
        """The pipeline and the options of a stream that is read as carefully as now."""
        stages = [*pipeline]
        options: dict[str, Any] = {"batch_size": _BATCH if self.step == Step.NONE else 1}
        if self._images and self.step < Step.WITHOUT_IMAGES:
            options |= image_options(can.wire_version, before=self._before)
        if self.step == Step.KEY_ONLY:
            stages.append({"$unset": _DOCUMENTS})
        if self._may_split and can.splits:
            stages.append({"$changeStreamSplitLargeEvent": {}})  # it has to be the last stage
        return stages, options
