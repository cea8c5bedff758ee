"""Leaving the console while uploads run.

Owns the question and its answers. Not here: stopping the runner, the command that opened the console does that with
what `UploadConsole.run()` returned.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from console.formatting import count
from console.models import Upload
from console.ui.dialogs import Choice, ChoiceDialog


class Answer(Enum):
    """What to do with the uploads that run."""

    STAY = "stay"
    PAUSE = "pause"
    FINISH = "finish"
    CANCEL = "cancel"


def running_here(uploading: Iterable[Upload], runner: str) -> list[Upload]:
    """The uploads that this process is sending."""
    return [upload for upload in uploading if upload.lease is not None and runner and upload.lease.runner == runner]


def question(number: int) -> ChoiceDialog[Answer]:
    """Asks what to do with so many uploads."""
    verb, them, go_on = ("runs", "it", "it continues") if number == 1 else ("run", "them", "they continue")
    choices = (
        Choice("s", "Stay here", Answer.STAY),
        Choice("p", f"Pause {them} and leave: {go_on} later", Answer.PAUSE),
        Choice("f", f"Finish {them} first, then leave", Answer.FINISH),
        Choice("c", f"Cancel {them} and leave: what arrived is removed from S3", Answer.CANCEL),
    )
    return ChoiceDialog("Leave?", f"{count(number, 'upload')} still {verb} in this console.", choices)
