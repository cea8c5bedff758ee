"""The inspector: the event log full screen, on any feed of change events, live or replayed.

Owns the application and its one screen. Everything it shows is shared with the console's event pane. Not here: where
the events come from (an `EventSource`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import ClassVar, Protocol, runtime_checkable

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.dom import DOMNode
from textual.strip import Strip

from console.events.buffer import CAPACITY
from console.events.feed_items import FeedState
from console.formatting import visible
from console.ui import themes
from console.ui.app import utc_now
from console.ui.backend import EventSource, ImageSource
from console.ui.background import notify_error
from console.ui.base_app import BaseApp
from console.ui.events.event_detail import show_event
from console.ui.events.event_log import EventLog
from console.ui.feed_pump import FeedArrived, FeedPump
from console.ui.widgets.cells import Span, Tone, fit_spans, spans_length
from console.ui.widgets.full_screen import FullScreen
from console.ui.widgets.keys import KeyBar
from console.ui.widgets.list_view import LinesWidget


@runtime_checkable
class Recording(Protocol):
    """A source that reads what was recorded: there is no server to be connected to."""

    @property
    def speed(self) -> float:
        """How many times its own pace; 0 as fast as it is taken."""


class SourceBar(LinesWidget):
    """What is watched, and how the feed is."""

    def __init__(self, source: EventSource) -> None:
        super().__init__()
        self._title = source.title
        self._recording = source if isinstance(source, Recording) else None
        self.state = FeedState(connected=False)

    def make_line(self, y: int) -> Strip:
        state = self.state
        if state.connected:
            words = Span("● connected", Tone.GOOD)
        elif state.ended:
            words = Span(f"■ ended{': ' if state.message else ''}{visible(state.message)}", Tone.WARNING)
        elif self._recording is not None:
            speed = self._recording.speed
            words = Span(f"▶ replay{f' at {speed:g}×' if speed else ''}", Tone.GOOD)
        else:
            words = Span(f"◌ connecting{': ' if state.message else ''}{visible(state.message)}", Tone.WARNING)
        room = max(1, self.size.width - 2)
        right = fit_spans([words], min(spans_length([words]), room // 2))
        left = [Span("Change events", Tone.STRONG), Span(f" of {visible(self._title)}", Tone.MUTED)]
        left = fit_spans(left, max(0, room - spans_length(right) - 1))
        return self.strip([Span(" "), *left, Span(" "), *right, Span(" ")])


class InspectorScreen(FullScreen):
    """A line about the source, the log, the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
        Binding("q", "app.leave", "Leave", tooltip="Leave the inspector."),
    ]

    def __init__(
        self, source: EventSource, images: ImageSource | None, *, capacity: int, now: Callable[[], datetime]
    ) -> None:
        super().__init__()
        self.bar = SourceBar(source)
        self.log_pane = EventLog(now, opened=self._open_event, capacity=capacity, id="events")
        self._now = now
        self._images = images
        self._pump = FeedPump(source, self, self._feed_failed)

    def compose(self) -> ComposeResult:
        yield self.bar
        yield self.log_pane
        yield KeyBar()

    def on_mount(self) -> None:
        self.log_pane.add_class("-zoomed")
        self.log_pane.focus_list()
        self._pump.start()

    def on_unmount(self) -> None:
        self._pump.stop()

    def key_sections(self) -> list[tuple[str, DOMNode]]:
        return [("Events", self.log_pane), ("In every list", self.log_pane.rows), ("Everywhere", self)]

    @on(FeedArrived)
    def _arrived(self, message: FeedArrived) -> None:
        message.stop()
        try:
            for item in message.items:
                if isinstance(item, FeedState):
                    self.bar.state = item
            self.bar.redraw()
            self.log_pane.add(message.items)
        finally:
            message.applied()  # else no more would come

    def _feed_failed(self, error: Exception) -> None:
        notify_error(self.app, error)

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        self.log_pane.draw()

    def _open_event(self, number: int) -> None:
        show_event(self, number, self.log_pane.log_rows.buffer, self._now, self._images)


class Inspector(BaseApp[None]):
    """The inspector on a source; `images` is asked why a document did not come, where there is a server to ask."""

    TITLE = "Change events"

    def __init__(
        self,
        source: EventSource,
        images: ImageSource | None = None,
        *,
        theme: str = themes.DARK,
        event_capacity: int = CAPACITY,
        facts: Sequence[tuple[str, str]] = (),
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(theme, facts)
        self._inspector_screen = InspectorScreen(source, images, capacity=event_capacity, now=now)

    def get_default_screen(self) -> InspectorScreen:
        return self._inspector_screen
