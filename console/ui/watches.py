"""The watches of every host: what each rule waits for, has sent and has refused.

Owns the screen, which asks the backend every few seconds while it is open. Not here: watching (`console.watch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen

from console.formatting import age, visible
from console.ui.backend import Backend, WatchState
from console.ui.blocking import ask
from console.ui.cells import Cut, Span, Tone
from console.ui.columns import Column
from console.ui.key_bar import KeyBar
from console.ui.rows import Key, RowsView
from console.ui.text_screen import TextScreen
from console.ui.title_line import TitleLine

ASK_SECONDS: Final = 2.0
# Heartbeats come every few seconds; after this long without one nobody watches any more.
SILENT: Final = timedelta(seconds=30)

COLUMNS: Final = (
    Column("sign", "", 1, 1, rank=0),
    Column("folder", "Folder", 14, 80, rank=0, share=3, cut=Cut.START),
    Column("state", "State", 10, 24, rank=1, share=1),
    Column("pending", "Pending", 7, 7, rank=3, right=True),
    Column("sent", "Sent", 7, 7, rank=2, right=True),
    Column("refused", "Refused", 7, 7, rank=4, right=True),
    Column("destination", "Destination", 16, 60, rank=7, share=2, cut=Cut.MIDDLE),
    Column("rule", "Rule", 8, 24, rank=8, share=1),
    Column("host", "Host", 6, 20, rank=5, share=1),
    Column("seen", "Seen", 4, 4, rank=6, right=True),
)


class WatchRows:
    """The rules as rows; the key of a row is host and rule."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.states: Sequence[WatchState] = ()
        self.words = "asking…"
        self._now = now

    def __len__(self) -> int:
        return len(self.states)

    def key(self, index: int) -> Key:
        """Host and rule."""
        return (self.states[index].host, self.states[index].rule)

    def index_of(self, key: Key) -> int | None:
        """Where that rule is now."""
        return next((index for index in range(len(self.states)) if self.key(index) == key), None)

    def whole(self, index: int) -> Sequence[Span] | None:
        """Rules have columns."""
        return None

    def may_mark(self, index: int) -> bool:
        """Rules are not marked."""
        return False

    def empty_words(self) -> str:
        """How one gets a rule."""
        return self.words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        """One cell of one rule."""
        state = self.states[index]
        sign, words = state_words(state, self._now())
        match column:
            case "sign":
                return [sign]
            case "state":
                return [Span(words, sign.tone)]
            case "pending" | "sent" | "refused":
                number: int = getattr(state, column)
                tone = Tone.WARNING if column == "refused" and number else Tone.PLAIN
                return [Span(f"{number:,}" if number else "", tone)]
            case "seen":
                return [Span(age(state.heartbeat_at, self._now()), Tone.MUTED)]
            case "folder":
                return [Span(visible(state.folder))]
        return [Span(visible(getattr(state, column)), Tone.MUTED)]


def state_words(state: WatchState, now: datetime) -> tuple[Span, str]:
    """Sign and word for a rule; what is wrong comes before what is well."""
    if now - state.heartbeat_at > SILENT:
        return Span("!", Tone.WARNING), "silent"
    if state.paused:
        return Span("‖", Tone.WARNING), "paused"
    if state.last_error:
        return Span("✗", Tone.BAD), visible(state.state)
    return Span("●", Tone.GOOD), visible(state.state)


def watch_lines(state: WatchState, now: datetime) -> list[tuple[str, str]]:
    """Label and value of all that is known of a rule."""
    _, words = state_words(state, now)
    lines = [
        ("rule", visible(state.rule)),
        ("state", words),
        *([("error", visible(state.last_error))] if state.last_error else []),
        ("folder", visible(state.folder)),
        ("host", visible(state.host)),
        ("destination", visible(state.destination)),
        ("files", f"{state.pending:,} pending, {state.sent:,} sent, {state.refused:,} refused"),
        ("heard of", f"{age(state.heartbeat_at, now)} ago"),
    ]
    for number, refusal in enumerate(state.last_refusals):
        label = "refused last" if number == 0 else ""
        lines.append((label, f"{visible(refusal.path)}\n{visible(refusal.reason)}"))
    return lines


class WatchesScreen(Screen[None]):
    """A list of rules."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause or resume", tooltip="Pause the rule under the cursor, or let it go on."),
        Binding("escape,q", "dismiss", "Back", key_display="esc", tooltip="Back to the console."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
    ]

    def __init__(self, backend: Backend, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._backend = backend
        self._now = now
        self._source = WatchRows(now)
        self._title = TitleLine("Watches")
        self._title.add_class("-focused")
        self._rows = RowsView(self._source)

    def compose(self) -> ComposeResult:
        """A frame with the list, keys below."""
        with Vertical(classes="pane"):
            yield self._title
            with Vertical(classes="pane--body"):
                yield self._rows
        yield KeyBar()

    def on_mount(self) -> None:
        """Ask, and go on asking."""
        self._rows.focus()
        self._ask()
        self.set_interval(ASK_SECONDS, self._ask)

    def _ask(self) -> None:
        ask(self.app, self._backend.watches, self._known)

    def _known(self, states: Sequence[WatchState]) -> None:
        if not self.is_attached:
            return
        self._source.states = sorted(states, key=lambda state: (state.host, state.folder, state.rule))
        self._source.words = "nobody watches a folder: [[watch]] tables in the configuration, or `upload-console watch`"
        self._rows.reload()
        self._title.show("Watches", f"{len(states):,}")

    def _state(self) -> WatchState | None:
        cursor = self._rows.cursor
        return self._source.states[cursor] if cursor < len(self._source) else None

    @on(RowsView.Activated)
    def _activated(self, message: RowsView.Activated) -> None:
        message.stop()
        state = self._state()
        if state is not None:
            self.app.push_screen(TextScreen("Watch", watch_lines(state, self._now())))

    def action_pause(self) -> None:
        """Pause the rule under the cursor, or let it go on."""
        state = self._state()
        if state is not None:
            call = partial(self._backend.pause_watch, state.host, state.rule, not state.paused)
            ask(self.app, call, lambda _: self._ask())
