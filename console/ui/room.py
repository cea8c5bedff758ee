"""Whether a pane has room beside the others, or gets the whole screen because the terminal is small.

Owns the limits, and reckons with the sizes that app.tcss gives to panes. Pure: asking the laid-out pane instead would
show it too small first. Not here: zooming (`console_screen`).
"""

from __future__ import annotations

from typing import Final

from textual.geometry import Size, clamp

LEAST_ROWS: Final = 3
LEAST_WIDTH: Final = 20
# The header and the line of keys; title, headings and lower edge of a pane.
_OTHER_LINES: Final = 3
_FRAME_LINES: Final = 3


def has_room(name: str, terminal: Size) -> bool:
    """Whether the pane of that name, with the focus, shows enough to act on while the others are shown too."""
    files = clamp(terminal.width * 32 // 100, 29, 70)
    width = {"files": files, "uploads": terminal.width - files}.get(name, terminal.width)
    lines = terminal.height - _OTHER_LINES
    log = max(6, terminal.height * 30 // 100)
    rows = (min(log, lines) if name == "events" else lines - log) - _FRAME_LINES
    return width >= LEAST_WIDTH and rows >= LEAST_ROWS
