"""The watches of every host: what each rule waits for, has sent and has refused.

Owns the screen, which asks the backend every few seconds while it is open. Not here: watching (`console.watch`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from textual.binding import Binding, BindingType

from console.formatting import age, visible
from console.ui.backend import Backend
from console.ui.background import run_in_background
from console.ui.widgets.cells import Column, Cut, Span, Tone
from console.ui.widgets.list_screen import PolledListScreen
from console.ui.widgets.list_view import Key, RowSource, RowsView
from console.ui.widgets.text_screen import TextScreen

if TYPE_CHECKING:
    from console.records.watches import KnownWatch

COLUMNS: Final = (
    Column("sign", "", 1, 1, rank=0),
    Column("folder", "Folder", 14, 80, rank=0, share=3, cut=Cut.START),
    Column("state", "State", 13, 24, rank=1, share=1),
    Column("pending", "Pending", 7, 7, rank=3, right=True),
    Column("sent", "Sent", 7, 7, rank=2, right=True),
    Column("failed", "Failed", 6, 7, rank=4, right=True),
    Column("refused", "Refused", 7, 7, rank=4, right=True),
    Column("destination", "Destination", 16, 60, rank=7, share=2, cut=Cut.MIDDLE),
    Column("last_error", "Last error", 24, 80, rank=9, share=2),
    Column("rule", "Rule", 8, 24, rank=8, share=1),
    Column("host", "Host", 6, 20, rank=5, share=1),
    Column("seen", "Seen", 4, 4, rank=6, right=True),
)


_STOPPED: Final = "stopped"
_TONES: Final = {"failed": Tone.BAD, "refused": Tone.WARNING}


class WatchRows(RowSource):
    """The rules as rows; the key of a row is host and rule."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.states: Sequence[KnownWatch] = ()
        self.words = "asking…"
        self._now = now

    def __len__(self) -> int:
        return len(self.states)

    def key(self, index: int) -> Key:
        return (self.states[index].host, self.states[index].rule)

    def index_of(self, key: Key) -> int | None:
        return next((index for index in range(len(self.states)) if self.key(index) == key), None)

    def empty_text(self) -> str:
        return self.words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        state = self.states[index]
        sign, words = state_text(state)
        match column:
            case "sign":
                return [sign]
            case "state":
                return [Span(words, sign.tone)]
            case "pending" | "sent" | "refused" | "failed":
                number: int = getattr(state, column)
                return [Span(f"{number:,}" if number else "", _TONES.get(column, Tone.PLAIN))]
            case "seen":
                return [Span(age(state.heartbeat_at, self._now()), Tone.MUTED)]
            case "folder":
                return [Span(visible(state.folder))]
        return [Span(visible(getattr(state, column)), Tone.MUTED)]


def state_text(state: KnownWatch) -> tuple[Span, str]:
    """Sign and word for a rule; what is wrong comes before what is well."""
    if state.state == _STOPPED:
        return Span("–", Tone.MUTED), "paused, stopped" if state.is_paused else _STOPPED
    if not state.is_alive:
        return Span("!", Tone.WARNING), "silent"
    if state.is_paused:
        return Span("‖", Tone.WARNING), "paused"
    if state.is_troubled:
        return Span("✗", Tone.BAD), visible(state.state)
    return Span("●", Tone.GOOD), visible(state.state)


def watch_lines(state: KnownWatch, now: datetime) -> list[tuple[str, str]]:
    """Label and value of all that is known of a rule."""
    sign, words = state_text(state)
    lines = [
        ("rule", visible(state.rule)),
        ("state", f"{sign.text} {words}"),
        *_error_lines(state, now),
        ("folder", visible(state.folder)),
        ("host", visible(state.host)),
        ("destination", visible(state.destination)),
        ("last seen", f"{age(state.heartbeat_at, now)} ago"),
        ("settling", f"{state.waiting:,}"),
        ("pending", f"{state.pending:,}"),
        ("sent", f"{state.sent:,}"),
        ("failed", f"{state.failed:,}"),
        ("refused", f"{state.refused:,}"),
        *(("", f"{files:,}  {visible(reason)}") for reason, files in state.refused_by_reason.items()),
    ]
    for number, refusal in enumerate(state.last_refusals):
        label = "refused last" if number == 0 else ""
        lines.append((label, f"{visible(refusal.path)}\n{visible(refusal.reason)}"))
    return lines


def _error_lines(state: KnownWatch, now: datetime) -> list[tuple[str, str]]:
    if not state.last_error:
        return []
    label = "error" if state.is_troubled else "past error"
    return [(label, f"{age(state.last_error_at, now)} ago: {visible(state.last_error)}")]


class WatchesScreen(PolledListScreen["Sequence[KnownWatch]"]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause or resume", tooltip="Pause or resume the rule under the cursor."),
        Binding("escape,q", "dismiss", "Back", key_display="esc", tooltip="Back to the console."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
    ]

    def __init__(self, backend: Backend, now: Callable[[], datetime]) -> None:
        self._source = WatchRows(now)
        super().__init__("Watches", RowsView(self._source, activated=self._open))
        self._backend = backend
        self._now = now

    def read(self) -> Sequence[KnownWatch]:
        return self._backend.watches()

    def show(self, values: Sequence[KnownWatch]) -> None:
        self._source.states = sorted(values, key=lambda state: (state.host, state.folder, state.rule))
        self._source.words = "no watches: write [[watch]] tables, or run `upload-console watch DIR`"
        self._rows.reload()
        self._title.show("Watches", f"{len(values):,}")

    def _state(self) -> KnownWatch | None:
        cursor = self._rows.cursor
        return self._source.states[cursor] if cursor < len(self._source) else None

    def _open(self, key: Key) -> None:
        state = self._state()
        if state is not None:
            self.app.push_screen(TextScreen("Watch", lambda: self._lines(state)))

    def _lines(self, state: KnownWatch) -> list[tuple[str, str]]:
        """The rule as it is now; as it was, where it is gone."""
        index = self._source.index_of((state.host, state.rule))
        return watch_lines(state if index is None else self._source.states[index], self._now())

    def action_pause(self) -> None:
        state = self._state()
        if state is not None:
            call = partial(self._backend.pause_watch, state.host, state.rule, not state.is_paused)
            run_in_background(self.app, call, lambda _: self.ask())
