"""The runners of every host: which processes carry uploads out, what each holds and may, its limits, and when it was
last heard of.

It asks the backend every few seconds while it is open. What becomes of a runner's uploads when it is gone is decided by
the runners that live; a person can hasten that here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType

from console.formatting import age, byte_size, count, count_at_once, visible
from console.ui.backend import Backend, RunnerView
from console.ui.background import run_in_background
from console.ui.widgets.cells import Column, Cut, Span, Tone
from console.ui.widgets.dialogs import Choice, ChoiceDialog, FormDialog, limit_fields, limit_texts
from console.ui.widgets.list_screen import PolledListScreen
from console.ui.widgets.list_view import Key, RowSource, RowsView
from console.ui.widgets.text_screen import TextScreen

COLUMNS: Final = (
    Column("sign", "", 1, 1, rank=0),
    Column("host", "Host", 6, 24, rank=0, share=2),
    Column("kind", "Process", 13, 18, rank=1, share=1),
    Column("holds", "Holds", 12, 24, rank=0, share=1),
    Column("bandwidth", "Bandwidth", 12, 14, rank=2, right=True),
    Column("at_once", "At once", 9, 13, rank=4, right=True),
    Column("may", "May also send", 14, 80, rank=6, share=3, cut=Cut.MIDDLE),
    Column("user", "User", 4, 16, rank=5, share=1),
    Column("name", "Runner", 12, 60, rank=7, share=2, cut=Cut.MIDDLE),
    Column("seen", "Seen", 4, 6, rank=3, right=True),
)


class RunnerRows(RowSource):
    """Runners as rows; the key of a row is the runner's name."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, now: Callable[[], datetime]) -> None:
        self.views: Sequence[RunnerView] = ()
        self.words = "asking…"
        self._now = now

    def __len__(self) -> int:
        return len(self.views)

    def key(self, index: int) -> Key:
        return self.views[index].name

    def index_of(self, key: Key) -> int | None:
        return next((index for index, view in enumerate(self.views) if view.name == key), None)

    def empty_text(self) -> str:
        return self.words

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        view = self.views[index]
        state = view.state
        sign, word = sign_and_word(view)
        match column:
            case "sign":
                return [sign]
            case "host":
                return [Span(visible(state.host if state is not None else view.name.partition(":")[0]))]
            case "kind":
                return [Span(word, sign.tone)]
            case "holds":
                words = f"{view.held:,}  {byte_size(view.held_bytes)}" if view.held else _waits(view)
                return [Span(words, Tone.PLAIN if view.is_live else Tone.WARNING)]
            case "name":
                return [Span(visible(view.name), Tone.MUTED)]
        if state is None:
            return [Span("")]
        match column:
            case "bandwidth":
                limit = state.limits.bandwidth
                return [Span(f"≤ {byte_size(limit)}/s" if limit else "no limit", Tone.PLAIN if limit else Tone.MUTED)]
            case "at_once":
                return [Span(f"{state.limits.uploads or 'auto'}/{state.limits.parts or 'auto'}", Tone.MUTED)]
            case "may":
                return [Span(", ".join(_told(state.details, "roots")), Tone.MUTED)]
            case "user":
                return [Span(visible(str(state.details.get("user", ""))), Tone.MUTED)]
            case "seen":
                return [Span(age(state.seen_at, self._now()), Tone.MUTED if view.is_live else Tone.WARNING)]
        return [Span("")]


def sign_and_word(view: RunnerView) -> tuple[Span, str]:
    """What a runner is; that it has gone comes first."""
    kind = visible(view.state.kind) if view.state is not None else "unknown"
    if not view.is_live:
        return Span("!", Tone.WARNING), "silent"
    return Span("●", Tone.GOOD), f"this {kind}" if view.is_ours else kind


def _waits(view: RunnerView) -> str:
    """Why its uploads wait: a reason of the clock."""
    return visible(str(view.state.details.get("waits") or "")) if view.state is not None else ""


def _told(details: Mapping[str, Any], name: str) -> list[str]:
    """A list of texts of a heartbeat: anybody may have written it."""
    values = details.get(name)
    return [visible(str(value)) for value in values] if isinstance(values, list | tuple) else []


def runner_lines(view: RunnerView, now: datetime) -> Iterator[tuple[str, str]]:
    """Label and value of all that is known of a runner."""
    sign, word = sign_and_word(view)
    state = view.state
    yield "runner", visible(view.name)
    yield "state", f"{sign.text} {word}"
    yield "holds", f"{count(view.held, 'upload')}, {byte_size(view.held_bytes)}" if view.held else "nothing"
    if not view.is_live and view.held:
        yield "", "its uploads go on when their leases have run out and a runner sees their files; t hastens that"
    if waits := _waits(view):
        yield "waits", waits
    if state is None:
        yield "heartbeat", "none is known any more"
        return
    yield "host", visible(state.host)
    for label, name in (("user", "user"), ("process", "pid"), ("version", "version")):
        if name in state.details:
            yield label, visible(str(state.details[name]))
    yield "heartbeat", f"{age(state.seen_at, now)} ago"
    limits = state.limits
    yield "bandwidth", f"{byte_size(limits.bandwidth)}/s" if limits.bandwidth else "no limit"
    yield "at once", f"{count_at_once(limits.uploads, 'upload')}, {count_at_once(limits.parts, 'part')}"
    yield "sends", "what this user's own processes asked for on this host"
    for label, name in (("also from", "roots"), ("also to", "destinations")):
        for number, text in enumerate(_told(state.details, name)):
            yield label if number == 0 else "", text


class RunnersScreen(PolledListScreen[Sequence[RunnerView]]):
    """A list of runners."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "limits", "Limits", tooltip="Change the limits of the runner under the cursor."),
        Binding("t", "take_over", "Take over", tooltip="Let others carry out what a runner holds that has gone."),
        Binding("escape,q", "dismiss", "Back", key_display="esc", tooltip="Back to the console."),
        Binding("question_mark", "app.keys", "Keys", key_display="?", tooltip="Show all keys."),
    ]

    def __init__(self, backend: Backend, now: Callable[[], datetime]) -> None:
        self._source = RunnerRows(now)
        super().__init__("Runners", RowsView(self._source, activated=self._open))
        self._backend = backend
        self._now = now

    def read(self) -> Sequence[RunnerView]:
        return self._backend.runners()

    def show(self, values: Sequence[RunnerView]) -> None:
        self._source.views = sorted(values, key=lambda view: (view.is_live, not view.is_ours, view.name))
        self._source.words = "no runner lives: what waits is carried out by the next console, `watch` or command"
        self._rows.reload()
        hosts = len({view.name.partition(":")[0] for view in values})
        silent = sum(not view.is_live for view in values)
        parts = [f"{len(values):,} on {count(hosts, 'host')}", f"{silent:,} silent" if silent else ""]
        self._title.show("Runners", " · ".join(filter(None, parts)))

    def _view(self) -> RunnerView | None:
        cursor = self._rows.cursor
        return self._source.views[cursor] if cursor < len(self._source) else None

    def _open(self, key: Key) -> None:
        view = self._view()
        if view is not None:
            self.app.push_screen(TextScreen("Runner", lambda: self._lines(view)))

    def _lines(self, view: RunnerView) -> list[tuple[str, str]]:
        index = self._source.index_of(view.name)
        return list(runner_lines(view if index is None else self._source.views[index], self._now()))

    def action_limits(self) -> None:
        """Ask for other limits of the runner under the cursor."""
        view = self._view()
        if view is None or view.state is None:
            return
        name, limits = view.name, view.state.limits

        def answered(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                call = partial(self._backend.set_runner_limits, name, replace(limits, **values))
                run_in_background(self.app, call, lambda _: self.ask())

        texts = limit_texts(limits)
        fields = [replace(field, text=texts[field.name]) for field in limit_fields()]
        self.app.push_screen(FormDialog(f"Limits of {visible(name)}", fields, answered))

    def action_take_over(self) -> None:
        """Ask whether others may carry out what it holds."""
        view = self._view()
        if view is None:
            return
        if view.is_live:
            words = "it is at work; pause its uploads, or end it, and they can go on elsewhere"
            self.notify(f"{visible(view.name)}: {words}", title="Take over", severity="warning", markup=False)
            return

        def answered(sure: bool | None) -> None:
            if sure:
                run_in_background(self.app, partial(self._backend.take_over, view.name), self._taken_over)

        text = (
            f"{count(view.held, 'upload')} of {visible(view.name)}, which was last heard of too long ago. If it lives "
            "after all, it keeps them with its next write."
        )
        choices = (Choice("n", "No", False), Choice("y", "Let others carry them out", True))
        self.app.push_screen(ChoiceDialog("Take over?", text, choices, answered))

    def _taken_over(self, words: str) -> None:
        self.notify(words, title="Take over", markup=False)
        self.ask()
