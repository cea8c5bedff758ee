"""Copying to the clipboard of the person's own terminal, also over SSH (OSC 52).

Owns the limits. The terminal does not say whether it took a text, so the notice says how long it was.
"""

from __future__ import annotations

from typing import Any, Final

from textual.app import App

# Many terminals take at most 100,000 bytes of base64, which is what xterm's and hterm's authors settled on.
USUAL_BYTES: Final = 74_994
MOST_BYTES: Final = 1024 * 1024


def copy(app: App[Any], text: str, words: str) -> None:
    """Copy a text and say so; `words` name what it is (`the event`)."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MOST_BYTES:
        message = f"{words} has {size:,} bytes: more than a terminal takes. Save it to a file instead."
        app.notify(message, title="Not copied", severity="warning", markup=False)
        return
    app.copy_to_clipboard(text)
    if size > USUAL_BYTES:
        message = f"{words}, {size:,} bytes: many terminals take at most {USUAL_BYTES:,}."
        app.notify(message, title="Sent to the clipboard", severity="warning", markup=False)
    else:
        app.notify(f"{words}, {len(text):,} characters", title="Copied", markup=False)
