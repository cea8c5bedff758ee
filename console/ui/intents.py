"""What a person can ask of uploads, and the words that answer.

Owns the list of intents and how each is put to the backend. No widget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from bson import ObjectId

from console.errors import ConsoleError
from console.formatting import count, visible
from console.models import Requested
from console.ui.backend import Backend, Verification

if TYPE_CHECKING:
    # For its types alone: at run time it would bring PyMongo before the first picture.
    from console.records.intents import Outcome


class Intent(StrEnum):
    """Asked of one or many uploads at once."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    RETRY = "retry"
    DELETE = "delete"
    SOONER = "sooner"
    LATER = "later"
    VERIFY = "verify"
    LINK = "link"


def carry_out(backend: Backend, intent: Intent, ids: Sequence[ObjectId]) -> Outcome:
    """Put an intent on many uploads to the backend; blocks. VERIFY and LINK are about one and have their own calls."""
    match intent:
        case Intent.PAUSE:
            return backend.request(ids, Requested.PAUSE)
        case Intent.RESUME:
            return backend.request(ids, Requested.RUN)
        case Intent.CANCEL:
            return backend.request(ids, Requested.CANCEL)
        case Intent.RETRY:
            return backend.retry(ids)
        case Intent.DELETE:
            return backend.delete(ids)
        case Intent.SOONER:
            return backend.set_priority(ids, 1)
        case Intent.LATER:
            return backend.set_priority(ids, -1)
        case Intent.VERIFY | Intent.LINK:
            raise ValueError(f"{intent} is asked of one upload")


def deletion_words(outcome: Outcome) -> str:
    """How many are gone, and why of some only the record is."""
    words = count(outcome.changed, "upload")
    if outcome.kept:
        words += f"\nof {len(outcome.kept):,} only the record: {visible(next(iter(outcome.kept.values())))}"
    return words


def refusal_words(outcome: Outcome, name: Callable[[ObjectId], str], most: int = 5) -> str:
    """One line for each different reason why an intent did not take, with the name of the upload or how many."""
    reasons: dict[str, list[ObjectId]] = {}
    for upload_id, reason in outcome.refused.items():
        reasons.setdefault(reason, []).append(upload_id)
    lines = [
        f"{name(ids[0]) if len(ids) == 1 else count(len(ids), 'upload')}: {visible(reason)}"
        for reason, ids in list(reasons.items())[:most]
    ]
    return "\n".join(lines)


def verify_all(backend: Backend, ids: Sequence[ObjectId]) -> list[Verification]:
    """Compare one after the other: each reads a whole file."""
    verifications: list[Verification] = []
    for upload_id in ids:
        try:
            verifications.append(backend.verify(upload_id))
        except ConsoleError as error:
            # Without the advice, which is that for an upload that failed: the object is there.
            verifications.append(Verification(None, f"cannot be compared: {error.message}"))
    return verifications


def worst(verifications: Sequence[Verification]) -> bool | None:
    """Of all: whether one differs, else whether one is not known."""
    found = {verification.matches for verification in verifications}
    return next((matches for matches in (False, None) if matches in found), True)


def verification_words(names: Sequence[str], verifications: Sequence[Verification], most: int = 5) -> str:
    """How many are the same, and a line for each of the others, up to `most`."""
    others = [
        f"{name}: {visible(verification.words)}"
        for name, verification in sorted(
            zip(names, verifications, strict=True), key=lambda each: each[1].matches is None
        )
        if verification.matches is not True
    ]
    lines = [f"{len(names) - len(others):,} of {count(len(names), 'object')} the same", *others[:most]]
    if len(others) > most:
        lines.append(f"and {len(others) - most:,} more")
    return "\n".join(lines)
