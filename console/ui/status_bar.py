"""The two lines at the top: how the servers are, and what all uploads together are doing.

Owns their words and how they are shortened. Every state has a sign and a word besides its colour. Not here: asking.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from textual.strip import Strip

from console.formatting import byte_rate, byte_size, visible
from console.models import UploadStatus
from console.records.runners import Limits
from console.ui.backend import Link, ServerHealth
from console.ui.cells import Span, Tone, fit_spans
from console.ui.lines import LinesWidget
from console.ui.upload_cells import SIGNS

_LINKS: Final[Mapping[Link, tuple[str, Tone]]] = {
    Link.CONNECTED: ("●", Tone.GOOD),
    Link.CONNECTING: ("○", Tone.WARNING),
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
_GAP: Final = Span("   ")


class StatusBar(LinesWidget):
    """What the header knows; set the attributes and call `redraw`."""

    def __init__(self, host: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.host = host
        self.mongodb = ServerHealth(Link.CONNECTING, "")
        self.s3 = ServerHealth(Link.CONNECTING, "")
        self.counts: Mapping[UploadStatus, int] = {}
        self.rate = 0.0
        self.limits: Limits | None = None
        self.notice = ""

    def make_line(self, y: int) -> Strip:
        """Servers above, uploads below."""
        width = self.size.width
        left, right = self._servers(width) if y == 0 else self._uploads()
        room = width - 2
        beside = sum(cell_len(span.text) for span in right)
        spans = [
            Span(" "),
            *fit_spans(left, max(0, room - beside - 1)),
            Span(" "),
            *fit_spans(right, min(beside, room - 1)),
            Span(" "),
        ]
        return self.strip(spans)

    def _servers(self, width: int) -> tuple[list[Span], list[Span]]:
        left = [Span("Upload console", Tone.STRONG), Span(f" on {visible(self.host)}", Tone.MUTED)]
        with_address = width >= 110
        right = [
            *_server("MongoDB", self.mongodb, with_address),
            _GAP,
            *_server("S3", self.s3, with_address),
        ]
        return left, right

    def _uploads(self) -> tuple[list[Span], list[Span]]:
        left: list[Span] = []
        for status in _ORDER:
            number = self.counts.get(status, 0)
            if not number and status not in (UploadStatus.UPLOADING, UploadStatus.COMPLETED):
                continue
            sign, tone = SIGNS[status]
            word = _WORDS.get(status, str(status))
            left += [Span(f"{sign} ", tone), Span(f"{number:,}", Tone.STRONG), Span(f" {word}", Tone.MUTED), _GAP]
        return left[:-1], self._speed()

    def _speed(self) -> list[Span]:
        if self.notice:
            return [Span(self.notice, Tone.WARNING)]
        spans = [Span(byte_rate(self.rate) or "0 B/s", Tone.STRONG)]
        if self.limits is not None:
            bandwidth = self.limits.bandwidth
            spans.append(Span(f" of at most {byte_size(bandwidth)}/s" if bandwidth else " no limit", Tone.MUTED))
        return spans


def _server(name: str, health: ServerHealth, with_address: bool) -> Sequence[Span]:
    sign, tone = _LINKS[health.link]
    spans = [Span(f"{sign} ", tone), Span(name, Tone.STRONG), Span(f" {health.link}", tone)]
    if health.link is not Link.CONNECTED and health.message:
        spans.append(Span(f": {visible(health.message)}", Tone.MUTED))
    elif with_address and health.address:
        spans.append(Span(f" {visible(health.address)}", Tone.MUTED))
    return spans
