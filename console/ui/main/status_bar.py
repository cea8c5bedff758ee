"""The two lines at the top: how the servers are, and what all uploads together are doing.

Owns their words and how they are shortened. Every state has a sign and a word besides its colour. Not here: asking.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from textual.strip import Strip

from console.formatting import byte_rate, byte_size, visible
from console.models import UploadStatus
from console.ui.backend import Link, ServerHealth
from console.ui.uploads.upload_cells import QUEUED_SIGN, SIGNS
from console.ui.widgets.cells import Cut, Span, Tone, fit_spans, shorten, spans_length
from console.ui.widgets.list_view import LinesWidget

if TYPE_CHECKING:
    # For its types alone: at run time it would bring PyMongo before the first picture.
    from console.records.runners import Limits

_LINKS: Final[Mapping[Link, tuple[str, Tone]]] = {
    Link.CONNECTED: ("●", Tone.GOOD),
    Link.CONNECTING: ("○", Tone.WARNING),
    Link.SILENT: ("◌", Tone.WARNING),
    Link.RECONNECTING: ("◌", Tone.WARNING),
    Link.LOST: ("✗", Tone.BAD),
}
_ORDER: Final = (
    UploadStatus.UPLOADING,
    UploadStatus.PENDING,
    UploadStatus.PAUSED,
    UploadStatus.FAILED,
    UploadStatus.COMPLETED,
    UploadStatus.CANCELLED,
)
_WORDS: Final = {UploadStatus.PENDING: "waiting"}
_ALWAYS: Final = (UploadStatus.UPLOADING, UploadStatus.COMPLETED)
_LEAST_DETAIL: Final = 12


class StatusBar(LinesWidget):
    """What the header knows; set the attributes and call `redraw`."""

    def __init__(self, host: str, destination: str, *, id: str | None = None) -> None:
        """`destination` is where uploads go: `s3://bucket/prefix`; empty where no bucket is set."""
        super().__init__(id=id)
        self.host = host
        self.destination = destination
        self.mongodb = ServerHealth(Link.CONNECTING, "")
        self.s3 = ServerHealth(Link.CONNECTING, "")
        self.counts: Mapping[UploadStatus, int] = {}
        self.rate = 0.0
        self.queued = 0  # of those that are uploading, how many a runner has only claimed
        self.limits: Limits | None = None
        self.waits_until = ""  # as "waits until 20:00"
        self.notice = ""

    def make_line(self, y: int) -> Strip:
        room = max(1, self.size.width - 2)
        forms = self._server_forms(room) if y == 0 else self._upload_forms()
        for left, right in forms:
            free = room - spans_length(left) - spans_length(right)
            if free >= 1:
                break
        right = fit_spans(right, min(spans_length(right), room))
        left = fit_spans(left, max(0, room - spans_length(right) - 1))
        return self.strip([Span(" "), *left, Span(" "), *right, Span(" ")])

    def _server_forms(self, room: int) -> Iterator[tuple[list[Span], list[Span]]]:
        """From the longest form to the shortest; where uploads go is in every one."""
        where = Span(visible(self.destination)) if self.destination else Span("no bucket", Tone.WARNING)
        host = visible(self.host)
        left = [Span("Upload console", Tone.STRONG), Span(f" on {host} → ", Tone.MUTED), where]
        details = [_detail(self.mongodb), _detail(self.s3)]
        yield left, self._servers(details)
        # Without the addresses there is room for some of what is wrong.
        brief = self._servers(["", ""])
        ill = [
            server.link not in (Link.CONNECTED, Link.SILENT) and bool(server.message)
            for server in (self.mongodb, self.s3)
        ]
        each = (room - spans_length(left) - spans_length(brief) - 1) // max(1, sum(ill))
        if any(ill) and each >= _LEAST_DETAIL:
            yield (
                left,
                self._servers([shorten(words, each) if bad else "" for words, bad in zip(details, ill, strict=True)]),
            )
        yield left, brief
        yield [Span(f"{host} → ", Tone.MUTED), where], brief
        least = max(1, room - spans_length(brief) - 1)
        yield [Span(shorten(where.text, least, Cut.MIDDLE), where.tone)], brief

    def _servers(self, details: Sequence[str]) -> list[Span]:
        return [*_server("MongoDB", self.mongodb, details[0]), Span("   "), *_server("S3", self.s3, details[1])]

    def _upload_forms(self) -> Iterator[tuple[list[Span], list[Span]]]:
        for gap, words, short_rate in (("   ", True, False), ("  ", True, True), ("  ", False, True)):
            left: list[Span] = []
            for (sign, tone), number, word in self._numbers():
                left += [Span(gap if left else ""), Span(f"{sign} ", tone), Span(f"{number:,}", Tone.STRONG)]
                left.append(Span(f" {word}" if words else "", Tone.MUTED))
            if self.waits_until:  # else a person looks for what is broken
                left.append(Span(f"{gap}{visible(self.waits_until)}", Tone.WARNING))
            yield left, self._speed(short_rate)

    def _numbers(self) -> Iterator[tuple[tuple[str, Tone], int, str]]:
        for status in _ORDER:
            number = self.counts.get(status, 0)
            if status is UploadStatus.UPLOADING:
                yield SIGNS[status], max(0, number - self.queued), str(status)
                number = min(number, self.queued)
                if number:
                    yield (QUEUED_SIGN, Tone.PLAIN), number, "queued"
            elif number or status in _ALWAYS:
                yield SIGNS[status], number, _WORDS.get(status, str(status))

    def _speed(self, short: bool) -> list[Span]:
        if self.notice:
            return [Span(self.notice, Tone.WARNING)]
        # What was last heard of is not how fast it is now.
        known = self.mongodb.link is Link.CONNECTED
        spans = [Span((byte_rate(self.rate) or "0 B/s") if known else "– B/s", Tone.STRONG)]
        if self.limits is not None and self.limits.bandwidth:
            limit = f"{byte_size(self.limits.bandwidth)}/s"
            spans.append(Span(f" ≤ {limit}" if short else f" of at most {limit}", Tone.MUTED))
        elif self.limits is not None and not short:
            spans.append(Span(" no limit", Tone.MUTED))
        return spans


def _server(name: str, health: ServerHealth, detail: str) -> Sequence[Span]:
    sign, tone = _LINKS[health.link]
    words = f" {health.link}{f' {health.message}' if health.link is Link.SILENT else ''}"
    return [
        Span(f"{sign} ", tone),
        Span(name, Tone.STRONG),
        Span(words, tone),
        Span(detail, Tone.MUTED),
    ]


def _detail(health: ServerHealth) -> str:
    """What is wrong, or else where the server is."""
    if health.link not in (Link.CONNECTED, Link.SILENT) and health.message:
        return f": {visible(health.message)}"
    return f" {visible(health.address)}" if health.address else ""
