"""From files that are complete to records: decisions carried out, a batch at a time.

Owns what is written, and what is told of it. Not here: the decisions (`judging`), and the order and pace in which
files come (`watcher`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bson import ObjectId

from console.formatting import visible
from console.records.new_upload import NewUpload
from console.transfer.refusal import Refusal
from console.watch.at_rest import Found
from console.watch.judging import Decision, Judge, Step
from console.watch.notes import Kind, Listener, Note
from console.watch.refusals import Refusals
from console.watch.sent import Added, SentFiles

_MOST_LEFT: Final = 10_000


class Queue:
    """Takes complete files of one rule. `again` gets those that turn out not to be, `sent` the uploads of those that
    are in S3 already. Not thread-safe.
    """

    def __init__(
        self,
        rule: str,
        judge: Judge,
        sent: SentFiles,
        refusals: Refusals,
        *,
        tell: Listener,
        again: Callable[[Found], None],
        sent_already: Callable[[ObjectId], None],
    ) -> None:
        self._rule = rule
        self._judge = judge
        self._sent = sent
        self._refusals = refusals
        self._tell = tell
        self._again = again
        self._sent_already = sent_already
        self._left: dict[str, str] = {}

    def put(self, files: Sequence[Found]) -> int:
        """Decide about each and carry that out; gives how many uploads were recorded.

        Raises:
            PyMongoError: the records cannot be reached; put the same files again.
        """
        decisions = self._judge.decide(files)
        recorded = self._record([decision for decision in decisions if decision.step is Step.UPLOAD])
        for decision in decisions:
            if decision.step in (Step.ARM, Step.FOLLOW):
                recorded += self._rewrite(decision)
            else:
                self._take_note(decision)
        return recorded

    def _record(self, decisions: Sequence[Decision]) -> int:
        uploads = [(decision.upload, decision.record) for decision in decisions if decision.upload is not None]
        added = self._sent.add(uploads)
        for decision, (upload, _), outcome in zip(decisions, uploads, added, strict=True):
            self._refusals.forget(decision.file.path)
            if outcome is Added.KEY_TAKEN:
                self._again(decision.file)
            elif outcome is Added.YES:
                if decision.supersedes is not None:
                    self._sent.supersede(decision.supersedes)
                self._tell(self._queued(decision, upload))
        return added.count(Added.YES)

    def _rewrite(self, decision: Decision) -> int:
        upload, record = decision.upload, decision.record
        if upload is None or record is None:
            return 0
        self._refusals.forget(decision.file.path)
        if decision.step is Step.ARM:
            if not self._sent.arm(record, upload):
                self._again(decision.file)
                return 0
            self._tell(self._queued(decision, upload))
            return 1
        if self._sent.follow(record, upload):
            self._tell(self._note(Kind.RECOGNISED, decision))
            self._sent_already(record.id)
        else:  # two copies may have been taken for one file that was renamed
            self._again(decision.file)
        return 0

    def _take_note(self, decision: Decision) -> None:
        path = decision.file.path
        if decision.step is Step.WAIT:
            self._again(decision.file)
        elif decision.step is Step.REFUSE:
            self.refuse(Refusal(path, decision.words))
        elif decision.step is Step.GONE:
            self._refusals.forget(path)
        elif decision.step is Step.SENT and decision.record is not None:
            self._sent_already(decision.record.id)
        elif decision.step is Step.LEAVE and self._left.get(path) != decision.words:
            if len(self._left) >= _MOST_LEFT:
                self._left.clear()  # then some are told once more
            self._left[path] = decision.words
            self._tell(self._note(Kind.LEFT, decision))

    def refuse(self, refusal: Refusal) -> None:
        """Count it, and tell it the first time."""
        if self._refusals.add(refusal):
            self._tell(Note(Kind.REFUSED, self._rule, refusal.path, refusal.reason))

    def _queued(self, decision: Decision, upload: NewUpload) -> Note:
        destination = visible(f"s3://{upload.bucket}/{upload.key}")
        return Note(Kind.QUEUED, self._rule, decision.file.path, decision.words, destination, decision.file.size)

    def _note(self, kind: Kind, decision: Decision) -> Note:
        return Note(kind, self._rule, decision.file.path, decision.words, size=decision.file.size)
