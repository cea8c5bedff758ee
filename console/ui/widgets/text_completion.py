"""What goes on from a text that is typed: found in the background, shown by the dialog, taken with tab.

Tab and enter may come before it is found: tab then acts once it is, and what was asked to come behind it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Final

from textual.content import Content

from console.formatting import visible
from console.ui.background import run_in_background
from console.ui.widgets.filter_line import OrderedInput

MOST_SHOWN: Final = 10


class Completion:
    """Of one line. `find` blocks; `found` is called when what goes on from the text is known: `texts`, of `of`."""

    def __init__(
        self, line: OrderedInput, find: Callable[[str], Sequence[str]], found: Callable[[], object], begun: str = ""
    ) -> None:
        """`begun` is the text that the line has now, of which nothing is known."""
        self._line = line
        self._find = find
        self._found = found
        self.of = begun
        self.texts: Sequence[str] = ()
        self.problem: Exception | None = None
        self._asked = begun
        self._is_wanted = False
        self._behind: Callable[[], object] | None = None

    def text_changed(self) -> None:
        text = self._line.value
        if text == self._asked:
            return
        self._asked = text
        run_in_background(
            self._line.app,
            lambda: self._find(text),
            lambda texts: self._known(text, texts, None),
            lambda error: self._known(text, (), error),
        )

    def _known(self, text: str, texts: Sequence[str], problem: Exception | None) -> None:
        if text != self._line.value or not self._line.is_attached:
            return
        self.of, self.texts, self.problem = text, texts, problem
        self._found()
        if self._is_wanted:
            self._is_wanted = False
            self.complete()
        behind, self._behind = self._behind, None
        if behind is not None:
            behind()

    def complete(self, only: str | None = None) -> None:
        """Go on as far as all texts do alike; with `only`, to the end of that one."""
        if self.of != self._line.value:
            self._is_wanted = True
            self.text_changed()
        elif self.of and self.texts:
            common = only or os.path.commonprefix(self.texts)  # noqa: RUF071 - letters are meant
            if len(common) > len(self.of) or only:
                self._line.value = common
                self._line.cursor_position = len(common)

    def then(self, act: Callable[[], object]) -> bool:
        """Whether a tab is still to act; `act` is then called behind it."""
        if self._is_wanted:
            self._behind = act
        return self._is_wanted


def listed(texts: Sequence[str], chosen: int = -1, most: int = MOST_SHOWN) -> Content:
    """The texts one below the other, the chosen one marked, and how many more there are."""
    lines: list[Content] = []
    for place, text in enumerate(texts[:most]):
        is_chosen = place == chosen
        line = f" {'▌' if is_chosen else ' '} {visible(text)}"
        lines.append(Content.styled(line, "bold $accent") if is_chosen else Content(line))
    if len(texts) > most:
        lines.append(Content(f"   and {len(texts) - most:,} more"))
    return Content("\n").join(lines)
