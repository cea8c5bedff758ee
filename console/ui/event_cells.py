"""How one change event looks as a line of the log.

Owns signs, words and tones. Pure: an event or a notice goes in, spans come out. Not here: what changed
(`console.events.changes`), which entries are shown (`event_log`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from rich.cells import cell_len

from console.events.changes import changes, summary
from console.events.event import ChangeEvent
from console.events.text import value_text
from console.formatting import visible
from console.ui.cells import Cut, Span, Tone
from console.ui.columns import Column


@dataclass(frozen=True, slots=True)
class Notice:
    """A line that is no event: a gap in the history, the connection lost or found again. `at` is UTC."""

    kind: str
    text: str
    at: datetime


Entry: TypeAlias = ChangeEvent | Notice

SUMMARY_CELLS: Final = 400

TIME: Final = Column("time", "Time", 8, 12, rank=1, share=1)
CLUSTER_TIME: Final = Column("cluster", "Cluster time", 13, 18, rank=1, share=1)
SIGN: Final = Column("sign", "", 1, 1, rank=0)
OPERATION: Final = Column("operation", "Event", 7, 13, rank=4, share=1)
NAMESPACE: Final = Column("namespace", "Namespace", 12, 40, rank=5, share=2, cut=Cut.START)
DOCUMENT: Final = Column("document", "Document", 12, 32, rank=2, share=3, cut=Cut.MIDDLE)
CHANGES: Final = Column("changes", "Changed", 24, 2_000, rank=0, share=8)

# After the time.
ONE_NAMESPACE: Final = (SIGN, OPERATION, DOCUMENT, CHANGES)
SEVERAL_NAMESPACES: Final = (SIGN, OPERATION, NAMESPACE, DOCUMENT, CHANGES)

SIGNS: Final[Mapping[str, tuple[str, Tone]]] = {
    "insert": ("+", Tone.GOOD),
    "update": ("~", Tone.ACCENT),
    "replace": ("=", Tone.WARNING),
    "delete": ("-", Tone.BAD),
}
# Collections, databases and the stream itself.
_OTHER: Final = ("#", Tone.WARNING)
NOTICE_SIGNS: Final[Mapping[str, tuple[str, Tone]]] = {
    "connected": ("●", Tone.GOOD),
    "snapshot": ("●", Tone.GOOD),
    "reconnecting": ("◌", Tone.WARNING),
    "ended": ("■", Tone.WARNING),
    "gap": ("!", Tone.BAD),
}

DROPPED: Final = "This event is no longer in the log: newer ones have taken its room."


def operation_sign(event: ChangeEvent) -> tuple[str, Tone]:
    """The sign of an event's operation, and its tone."""
    return SIGNS.get(event.operation, _OTHER)


def notice_spans(notice: Notice) -> list[Span]:
    """A line that is no event: time, sign, word, and what there is to say."""
    sign, tone = NOTICE_SIGNS.get(notice.kind, ("!", Tone.WARNING))
    return [
        Span(f"{local_time(notice.at):%H:%M:%S}", Tone.MUTED),
        Span(f" {sign} {notice.kind}", tone),
        Span(f"  {visible(notice.text)}"),
    ]


def event_time(event: ChangeEvent) -> datetime | None:
    """When it happened, in the zone of whoever looks."""
    return local_time(event.time) if event.time is not None else None


def local_time(moment: datetime) -> datetime:
    """A time in the zone of whoever looks; as it is where that would be before year 1 or after 9999."""
    try:
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        return moment


def cluster_time_text(event: ChangeEvent) -> str:
    """The time that orders events of the deployment, as its seconds since 1970 and the number within the second."""
    return value_text(event.cluster_time) if event.cluster_time is not None else ""


def document_name(event: ChangeEvent) -> str:
    """The name people know a document by: its file's, else its key."""
    for image in (event.after, event.before):
        name = image.get("filename") if image is not None else None
        if isinstance(name, str) and name:
            return visible(name)
    if event.document_key is None:
        return ""
    if len(event.document_key) == 1:
        return value_text(event.document_id, 80)
    return value_text(event.document_key, 80)


def event_cell(event: ChangeEvent, column: str, width: int) -> Sequence[Span]:
    """The content of one cell but the changes, which are `changes_spans` (they are worth keeping)."""
    match column:
        case "time":
            moment = event_time(event)
            if moment is None:
                return [Span("")]
            milliseconds = f".{moment.microsecond // 1000:03d}" if width >= 12 else ""
            return [Span(f"{moment:%H:%M:%S}{milliseconds}", Tone.MUTED)]
        case "cluster":
            return [Span(cluster_time_text(event), Tone.MUTED)]
        case "sign":
            return [Span(*operation_sign(event))]
        case "operation":
            return [Span(visible(event.operation), operation_sign(event)[1])]
        case "namespace":
            return [Span(visible(event.namespace), Tone.MUTED)]
        case "document":
            return [Span(document_name(event))]
    return [Span("")]


def changes_spans(event: ChangeEvent) -> list[Span]:
    """What changed: each field's name muted, its values not."""
    spans = list(_field_spans(event)) if event.operation in ("update", "replace") else []
    return spans or [Span(summary(event, SUMMARY_CELLS), Tone.MUTED)]


def _field_spans(event: ChangeEvent) -> Iterator[Span]:
    room = SUMMARY_CELLS
    for number, change in enumerate(changes(event)):
        if room <= 0:
            return
        text = change.text()
        path, blank, values = text.partition(" ")
        yield Span(f"{'  ' if number else ''}{path}{blank}", Tone.MUTED)
        yield Span(values)
        room -= cell_len(text) + 2
