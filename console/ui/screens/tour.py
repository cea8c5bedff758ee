"""The tour: five steps, each a sentence or two and the keys that it is about. The first start offers it, once."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

STEPS: Final = (
    (
        "Three panes",
        "Files of this host on the left, uploads of all hosts on the right, what happens to them below.",
        "1 2 3 or tab go to a pane · z gives it the whole screen · 4 shows the bucket",
    ),
    (
        "Upload",
        "Mark files and folders, then upload them: a sheet says where to, and what would be overwritten.",
        "space marks · u shows the sheet, enter uploads · p in the files goes to a path · / filters any list",
    ),
    (
        "Act on uploads",
        "Keys act on the marked rows, or on the one under the cursor; what takes something away asks first.",
        "p pause · r resume · c cancel · R retry · d delete · U undoes · F failed, A active, T today · V views",
    ),
    (
        "Look closer",
        "Enter opens an upload: its record, all that happened to it, its object in S3.",
        "enter opens · e its events · y copies its key, URL or path · u on an event goes to its upload",
    ),
    (
        "Find everything",
        "Every key has a sentence. Leave whenever you like: what runs can pause, finish or go on elsewhere.",
        "? all keys · : commands by words · , settings · b limits · h runners · w watches · q leaves",
    ),
)


class TourScreen(ModalScreen[None]):
    """One step after the other."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,space,right,n", "step(1)", "Next", tooltip="Go to the next step."),
        Binding("left,backspace", "step(-1)", "Back", tooltip="Go back a step."),
        Binding("escape,q,s", "dismiss", "Skip", tooltip="Skip the tour."),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._step = 0
        self._text = Static(classes="dialog--text", markup=False)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as dialog:
            dialog.border_subtitle = "enter goes on · ← back · escape skips"
            yield self._text

    def on_mount(self) -> None:
        self._show()

    def _show(self) -> None:
        title, words, keys = STEPS[self._step]
        self.query_one(".dialog", Vertical).border_title = Content(f"{self._step + 1} of {len(STEPS)}: {title}")
        lines = [Content(words), Content(""), *(Content(f"  {part}") for part in keys.split(" · "))]
        self._text.update(Content("\n").join(lines))

    def action_step(self, steps: int) -> None:
        """Go on or back; behind the last one is the console."""
        self._step = max(0, self._step + steps)
        if self._step >= len(STEPS):
            self.dismiss()
        else:
            self._show()
