"""What goes wrong inside, as lines on standard error for the person at a terminal: one for each, without traceback.

Not here: services, whose log keeps tracebacks (`watch`), and the full screen, which has no room for either.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

from console.formatting import visible


class _Lines(logging.Handler):
    """Writes to what standard error is at that moment: bars that are drawn meanwhile put it above them."""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            text += f": {type(error).__name__}: {error}"
        sys.stderr.write(visible(text) + "\n")


_LINES: Final = _Lines(logging.WARNING)


def tell_in_lines() -> None:
    """From now on, warnings and worse."""
    logging.getLogger("console").addHandler(_LINES)
