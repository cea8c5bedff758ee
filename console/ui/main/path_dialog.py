"""A path to go to, typed: tab completes it, and with nothing typed bookmarks and recent folders stand below."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from console.formatting import visible
from console.ui.background import run_in_background
from console.ui.widgets.dialogs import Dialog
from console.ui.widgets.filter_line import OrderedInput

MOST_SHOWN: Final = 10


def expanded(text: str, directory: str) -> str:
    """The path that is meant: `~` is the home folder, and what is relative starts from the directory."""
    return os.path.normpath(os.path.join(directory, os.path.expanduser(text)))  # noqa: PTH111, PTH118 - `..` is meant


def completions(text: str, directory: str) -> list[str]:
    """Texts that go on from this one: folders first, with a slash at their ends; hidden ones only where asked for."""
    head, _, begin = text.rpartition("/")
    folder = expanded(f"{head}/" if "/" in text else "", directory)
    if text == "~":
        return ["~/"]
    try:
        with os.scandir(folder) as entries:
            found = [(not entry.is_dir(), entry.name) for entry in entries if entry.name.startswith(begin)]
    except OSError:
        return []
    shown = [(is_file, name) for is_file, name in found if begin.startswith(".") or not name.startswith(".")]
    lead = f"{head}/" if "/" in text else ""
    return [f"{lead}{name}{'' if is_file else '/'}" for is_file, name in sorted(shown)]


class PathDialog(Dialog[str]):
    """Answers with an absolute path."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "accept", "Go", priority=True, show=False),
        Binding("tab", "complete", "Complete", priority=True, show=False),
        Binding("down", "choose(1)", "Next", priority=True, show=False),
        Binding("up", "choose(-1)", "Previous", priority=True, show=False),
    ]

    def __init__(self, directory: str, places: Sequence[str], answered: Callable[[str | None], object]) -> None:
        """`places` are shown while nothing is typed."""
        super().__init__("Go to", answered)
        self._directory = directory
        self._places = list(places)
        self._shown = self._places
        self._of = ""  # the text that `_shown` goes on from
        self._chosen = -1
        self._is_wanted = False  # tab was pressed before the folder was read,
        self._is_accepted = False  # and enter behind it
        self._input = OrderedInput(placeholder="a path; ~ is your home folder", compact=True, classes="dialog--input")
        self._list = Static(markup=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_title = Content(self._title)
            dialog.border_subtitle = "tab completes · enter goes · escape closes"
            yield self._input
            yield self._list

    def on_mount(self) -> None:
        self.set_focus(self._input)
        self._draw()

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._chosen = -1
        text = self._input.value
        if text:
            run_in_background(self.app, partial(completions, text, self._directory), partial(self._known, text))
        else:
            self._known("", self._places)

    def _known(self, text: str, found: list[str]) -> None:
        if text != self._input.value or not self.is_attached:
            return
        self._of, self._shown = text, found
        self._draw()
        if self._is_wanted:
            self._is_wanted = False
            self.action_complete()
        if self._is_accepted:
            self.action_accept()

    def _draw(self) -> None:
        lines: list[Content] = []
        for place, text in enumerate(self._shown[:MOST_SHOWN]):
            is_chosen = place == self._chosen
            line = f" {'▌' if is_chosen else ' '} {visible(text)}"
            lines.append(Content.styled(line, "bold $accent") if is_chosen else Content(line))
        if len(self._shown) > MOST_SHOWN:
            lines.append(Content(f"   and {len(self._shown) - MOST_SHOWN:,} more"))
        self._list.update(Content("\n").join(lines))

    def action_complete(self) -> None:
        """As far as all that is shown goes on alike; the only one, or the chosen one, whole."""
        if self._of != self._input.value:
            self._is_wanted = True
        elif self._of and self._shown:
            chosen = [self._shown[self._chosen]] if self._chosen >= 0 else self._shown
            common = os.path.commonprefix(chosen)  # noqa: RUF071 - letters are meant
            if len(common) > len(self._of) or self._chosen >= 0:
                self._input.value = common
                self._input.cursor_position = len(common)

    def action_choose(self, steps: int) -> None:
        if self._shown:
            most = min(len(self._shown), MOST_SHOWN)
            self._chosen = (max(self._chosen, -1 if steps > 0 else 0) + steps) % most
            self._draw()

    def action_accept(self) -> None:
        if self._is_wanted:
            self._is_accepted = True
            return
        text = self._shown[self._chosen] if 0 <= self._chosen < len(self._shown) else self._input.value
        self.answer(expanded(text, self._directory) if text else None)


def kind_of(path: str) -> tuple[str, str | None]:
    """The folder to show for a path, and where the cursor goes; raises OSError where there is no such path."""
    os.stat(path)  # noqa: PTH116 - for its error
    return (path, None) if Path(path).is_dir() else (str(Path(path).parent), path)
