"""Why a path cannot be uploaded, in the same words wherever files are looked for.

This module has `Refusal` and the rules for what is no regular file, for symbolic links, and for errors of the file
system. `walk` applies them; what a key may be is in `settings.key_template`, what a watch rule allows of a file (size,
age) in `watch.decisions`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MAY_NOT_BE_READ: Final = "may not be read by this user"
CONTAINS_ITSELF: Final = "a folder that contains itself"
LEADS_NOWHERE: Final = "a symbolic link that leads nowhere"

_KINDS: Final[tuple[tuple[Callable[[int], bool], str], ...]] = (
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A path that cannot be uploaded, and why."""

    path: str
    reason: str


def kind_refused(mode: int) -> str | None:
    """What is refused about a file of this `st_mode`; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((words for is_kind, words in _KINDS if is_kind(mode)), "not a regular file")


def link_target(path: str, top: str) -> os.stat_result | str:
    """The file that a symbolic link below the folder `top` leads to, or why it is not followed."""
    target = os.path.realpath(path)
    try:
        status = os.stat(target)  # noqa: PTH116
    except OSError:
        return LEADS_NOWHERE
    if stat.S_ISDIR(status.st_mode):
        return "a symbolic link to a folder"
    if not target.startswith(os.path.realpath(top).rstrip("/") + "/"):
        return "a symbolic link that leads out of the folder"
    return status


def os_error_message(error: OSError) -> str:
    """What the system said of a path, without the path."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, PermissionError):
        return MAY_NOT_BE_READ
    return error.strerror or str(error)
