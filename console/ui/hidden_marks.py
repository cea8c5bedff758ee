"""Marked rows that are not shown: a filter or another folder hides them, and keys act on them all the same.

Owns the words about them in a title, and the question that comes before a key acts on them. Not here: which rows are
marked, and which of them are shown (the panes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from textual.app import App

from console.formatting import visible
from console.ui.dialogs import Choice, ChoiceDialog

SHOWN_NAMES: Final = 3

T = TypeVar("T")


def marks_words(marked: int, hidden: int) -> str:
    """`3 marked, 1 hidden`."""
    return f"{marked:,} marked" + (f", {hidden:,} hidden" if hidden else "")


def marks_sign(marked: int, hidden: int) -> str:
    """The same where there is little room, with the sign that marked rows have."""
    return f"●{marked:,}" + (f", {hidden:,} hidden" if hidden else "")


def ask_which(
    app: App[Any], title: str, marked: tuple[T, ...], hidden: Mapping[T, str], act: Callable[[tuple[T, ...]], object]
) -> None:
    """Ask which of the marked rows are meant, and act on these; `hidden` has the names of those that are not shown."""
    shown = tuple(row for row in marked if row not in hidden)

    def answered(meant: tuple[T, ...] | None) -> None:
        if meant:
            act(meant)

    choices: list[Choice[tuple[T, ...]]] = [Choice("n", "No", ())]
    if shown:
        choices.append(
            Choice("s", "Only the one shown" if len(shown) == 1 else f"Only the {len(shown):,} shown", shown)
        )
    if len(marked) > 1:
        choices.append(Choice("a", f"All {len(marked):,} marked", marked))
    else:
        choices.append(Choice("y", "Yes, though it is not shown", marked))
    app.push_screen(ChoiceDialog(title, _text(list(hidden.values()), len(marked)), choices), answered)


def _text(hidden: Sequence[str], marked: int) -> str:
    names = [visible(name) for name in hidden[:SHOWN_NAMES]]
    if len(hidden) > SHOWN_NAMES:
        names.append(f"and {len(hidden) - SHOWN_NAMES:,} more")
    if marked == 1:
        return f"Marked, and not shown here:\n{names[0]}"
    how_many = f"All {marked:,}" if len(hidden) == marked else f"{len(hidden):,} of them"
    return "\n".join([f"{how_many} {'is' if len(hidden) == 1 else 'are'} not shown here:", *names])
