"""The report of a fault of this program.

Owns the file and the sentence that names it. The report has no values of variables: these may be somebody's documents.
"""

from __future__ import annotations

import os
import platform
import sys
import traceback
from datetime import UTC, datetime

import platformdirs

import console
from console.capacity import no_room, shortage
from console.formatting import visible
from console.private_files import make_private_folder, open_private


def report() -> str:
    """Keep the exception that is being handled in a file; returns what to tell the person."""
    error = sys.exception()
    uploads = "Uploads that ran here are paused; a console or `resume` continues them where they stopped."
    if error is not None and (lacking := shortage(error)):
        return f"The console ended: {lacking}.\n{uploads}"
    words = f"The console ended because of an internal error: {type(error).__name__}: {visible(str(error))[:500]}"
    now = datetime.now(UTC)
    path = platformdirs.user_state_path("upload-console") / f"fault-{now:%Y%m%d-%H%M%S}.txt"
    try:
        make_private_folder(path.parent)
        with os.fdopen(open_private(path), "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_text(error, now))
    except OSError as failure:
        return f"{words}\n{uploads}\nNo report could be written to {path}: {no_room(failure) or failure.strerror}."
    return f"{words}\n{uploads}\nPlease send the report, and say what you did last: {path}"


def _text(error: BaseException | None, now: datetime) -> str:
    lines = traceback.format_exception(error) if error is not None else ["no exception\n"]
    about = f"upload-console {console.__version__}, Python {platform.python_version()}, {platform.platform()}"
    return f"{now:%Y-%m-%d %H:%M:%S} UTC\n{about}\n\n{''.join(lines)}"
