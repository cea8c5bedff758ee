"""What a watch would do with each file of its folder, and why: told, and nothing done.

Owns no decisions: those are `judging`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from console.formatting import visible
from console.transfer.control import Unattended
from console.watch.at_rest import AtRest, Found
from console.watch.folder_events import clock_skew
from console.watch.judging import Decision, Step
from console.watch.notes import Kind, Note
from console.watch.refusals import Refusals
from console.watch.rule_parts import RuleParts, Surroundings
from console.watch.rules import WatchRule
from console.watch.scanning import Scanner, in_order, marker_time

_BATCH: Final = 500
_KINDS: Final = {
    Step.UPLOAD: Kind.WOULD_SEND,
    Step.ARM: Kind.WOULD_SEND,
    Step.FOLLOW: Kind.RECOGNISED,
    Step.SENT: Kind.SENT,
    Step.QUEUED: Kind.PENDING,
    Step.WAIT: Kind.LEFT,
    Step.LEAVE: Kind.LEFT,
    Step.REFUSE: Kind.REFUSED,
}


class DryRun:
    """One look at a folder. Memory is bounded as that of a scan."""

    def __init__(self, rule: WatchRule, around: Surroundings) -> None:
        """Raises ConfigurationError where neither rule nor settings name a bucket."""
        self._rule = rule
        self._tell = around.tell
        ignored: Callable[..., None] = lambda *_: None  # noqa: E731
        self._judge = RuleParts.make(
            rule, around, Refusals(), control=Unattended(), again=ignored, trouble=ignored
        ).judge
        self._at_rest = AtRest.of(rule, skew_seconds=clock_skew(str(rule.folder)), capacity=1)

    def run(self) -> int:
        """Tell of each file; gives how many would be sent. Raises OSError, PyMongoError."""
        scanner = Scanner(
            self._rule,
            refused=lambda refusal: self._say(Kind.REFUSED, refusal.path, refusal.reason),
            left_out=lambda path, words: self._say(Kind.LEFT_OUT, path, words),
        )
        batch: list[Found] = []
        sent = 0
        for file in in_order(scanner.files, self._rule.order):
            if not self._at_rest.look(file, marker_time(self._rule, file)):
                self._say(Kind.LEFT, file.path, "it is not complete yet")
                continue
            batch.append(file)
            if len(batch) == _BATCH:
                sent += self._decide(batch)
                batch = []
        return sent + self._decide(batch)

    def _decide(self, batch: list[Found]) -> int:
        decisions = self._judge.decide(batch) if batch else []
        for decision in decisions:
            if decision.step in _KINDS:
                self._tell(_note(self._rule.title, decision))
        return sum(_KINDS.get(decision.step) is Kind.WOULD_SEND for decision in decisions)

    def _say(self, kind: Kind, path: str, words: str) -> None:
        self._tell(Note(kind, self._rule.title, path, words))


def _note(rule: str, decision: Decision) -> Note:
    kind = _KINDS[decision.step]
    is_sent = kind is Kind.WOULD_SEND and decision.upload is not None
    destination = visible(f"s3://{decision.upload.bucket}/{decision.upload.key}") if is_sent and decision.upload else ""
    return Note(kind, rule, decision.file.path, decision.words, destination, decision.file.size)
