"""A path to go to, typed: tab completes it, and with nothing typed bookmarks and recent folders stand below."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from console.ui.widgets.dialogs import Dialog
from console.ui.widgets.filter_line import OrderedInput
from console.ui.widgets.text_completion import MOST_SHOWN, Completion, listed


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
        self._chosen = -1
        self._input = OrderedInput(placeholder="a path; ~ is your home folder", compact=True, classes="dialog--input")
        self._completion = Completion(self._input, self._find, self._known)
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
        self._completion.text_changed()

    def _find(self, text: str) -> list[str]:
        return completions(text, self._directory) if text else self._places

    def _known(self) -> None:
        self._shown = list(self._completion.texts)
        self._draw()

    def _draw(self) -> None:
        self._list.update(listed(self._shown, self._chosen))

    def action_complete(self) -> None:
        """As far as all that is shown goes on alike; the only one, or the chosen one, whole."""
        self._completion.complete(self._shown[self._chosen] if self._chosen >= 0 else None)

    def action_choose(self, steps: int) -> None:
        if self._shown:
            most = min(len(self._shown), MOST_SHOWN)
            self._chosen = (max(self._chosen, -1 if steps > 0 else 0) + steps) % most
            self._draw()

    def action_accept(self) -> None:
        if self._completion.then(self.action_accept):
            return
        text = self._shown[self._chosen] if 0 <= self._chosen < len(self._shown) else self._input.value
        self.answer(expanded(text, self._directory) if text else None)


def kind_of(path: str) -> tuple[str, str | None]:
    """The folder to show for a path, and where the cursor goes; raises OSError where there is no such path."""
    os.stat(path)  # noqa: PTH116 - for its error
    return (path, None) if Path(path).is_dir() else (str(Path(path).parent), path)
