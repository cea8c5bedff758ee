"""What a key does with uploads: the question before it where one is due, the call to the backend, the notice after
it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bson import ObjectId
from textual.screen import Screen

from console.errors import ConsoleError, UsageError
from console.files.refusals import Refusal
from console.formatting import byte_size, count, count_at_once, duration, visible
from console.models import Comparison, OpenMultipart, Requested, Upload, UploadStatus
from console.ui.backend import Added, Backend, UploadChoices
from console.ui.background import run_in_background, title_and_text
from console.ui.main.upload_sheet import UploadSheet
from console.ui.uploads.upload_cells import is_stalled
from console.ui.uploads.upload_detail import LinkScreen
from console.ui.uploads.uploads_window import UploadRows
from console.ui.widgets.dialogs import (
    Choice,
    ChoiceDialog,
    Field,
    FormDialog,
    lifetime_fields,
    limit_fields,
    limit_texts,
)

if TYPE_CHECKING:
    from console.job_totals import JobTotals
    from console.records.requests import Outcome
    from console.records.runners import Limits


class UploadAction(StrEnum):
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


_OPEN: Final = (UploadStatus.PENDING, UploadStatus.UPLOADING, UploadStatus.PAUSED)
APPLIES_TO: Final[Mapping[UploadAction, Sequence[UploadStatus]]] = {
    UploadAction.PAUSE: (UploadStatus.PENDING, UploadStatus.UPLOADING),
    UploadAction.RESUME: (UploadStatus.PAUSED,),
    UploadAction.CANCEL: _OPEN,
    UploadAction.RETRY: (UploadStatus.FAILED, UploadStatus.CANCELLED),
    UploadAction.DELETE: tuple(UploadStatus),
    UploadAction.SOONER: (UploadStatus.PENDING, UploadStatus.PAUSED),
    UploadAction.LATER: (UploadStatus.PENDING, UploadStatus.PAUSED),
    UploadAction.VERIFY: (UploadStatus.COMPLETED,),
}
"""What an action on a whole job is about: the others of its uploads are no news."""


def carry_out(backend: Backend, action: UploadAction, ids: Sequence[ObjectId]) -> Outcome:
    """Put an action on many uploads to the backend; blocks. VERIFY and LINK are about one and have their own calls."""
    match action:
        case UploadAction.PAUSE:
            return backend.request(ids, Requested.PAUSE)
        case UploadAction.RESUME:
            return backend.request(ids, Requested.RUN)
        case UploadAction.CANCEL:
            return backend.request(ids, Requested.CANCEL)
        case UploadAction.RETRY:
            return backend.retry(ids)
        case UploadAction.DELETE:
            return backend.delete(ids)
        case UploadAction.SOONER:
            return backend.set_priority(ids, 1)
        case UploadAction.LATER:
            return backend.set_priority(ids, -1)
        case UploadAction.VERIFY | UploadAction.LINK:
            raise ValueError(f"{action} is asked of one upload")


def deletion_message(outcome: Outcome) -> str:
    """How many are gone, and why of some only the record is."""
    message = count(outcome.changed, "upload")
    if outcome.kept:
        message += f"\nof {len(outcome.kept):,} only the record: {visible(next(iter(outcome.kept.values())))}"
    return message


def refusal_message(outcome: Outcome, name: Callable[[ObjectId], str], most: int = 5) -> str:
    """One line for each different reason why an action did not take, with the name of the upload or how many."""
    reasons: dict[str, list[ObjectId]] = {}
    for upload_id, reason in outcome.refused.items():
        reasons.setdefault(reason, []).append(upload_id)
    lines = [
        f"{name(ids[0]) if len(ids) == 1 else count(len(ids), 'upload')}: {visible(reason)}"
        for reason, ids in list(reasons.items())[:most]
    ]
    return "\n".join(lines)


def verify_all(backend: Backend, ids: Sequence[ObjectId]) -> list[Comparison]:
    """Compare one after the other: each reads a whole file."""
    verifications: list[Comparison] = []
    for upload_id in ids:
        try:
            verifications.append(backend.verify(upload_id))
        except ConsoleError as error:
            # Without the advice, which is that for an upload that failed: the object is there.
            verifications.append(Comparison(None, f"cannot be compared: {error.message}"))
    return verifications


def worst(verifications: Sequence[Comparison]) -> bool | None:
    """Of all: whether one differs, else whether one is not known."""
    found = {verification.same for verification in verifications}
    return next((same for same in (False, None) if same in found), True)


def verification_message(names: Sequence[str], verifications: Sequence[Comparison], most: int = 5) -> str:
    """How many are the same, and a line for each of the others, up to `most`."""
    others = [
        f"{name}: {visible(verification.message)}"
        for name, verification in sorted(zip(names, verifications, strict=True), key=lambda each: each[1].same is None)
        if verification.same is not True
    ]
    lines = [f"{len(names) - len(others):,} of {count(len(names), 'object')} the same", *others[:most]]
    if len(others) > most:
        lines.append(f"and {len(others) - most:,} more")
    return "\n".join(lines)


SHOWN_REFUSALS: Final = 6
NOTICE_SECONDS: Final = 8.0
_VERIFIED: Final = {True: ("Same", "information"), False: ("Differs", "error"), None: ("Unknown", "warning")}
MANY: Final = 20  # that are deleted by one key
_INVERSE: Final = {
    UploadAction.PAUSE: UploadAction.RESUME,
    UploadAction.RESUME: UploadAction.PAUSE,
    UploadAction.CANCEL: UploadAction.RETRY,
    UploadAction.SOONER: UploadAction.LATER,
    UploadAction.LATER: UploadAction.SOONER,
}
_SLOW_SECONDS: Final = 2.0
_OVER: Final = (UploadStatus.COMPLETED, UploadStatus.CANCELLED)
_KEEPS_PARTS: Final = (UploadStatus.UPLOADING, UploadStatus.PAUSED, UploadStatus.FAILED)


Steps: TypeAlias = tuple[tuple[UploadAction, tuple[ObjectId, ...]], ...]


class UploadActions:
    """Carries out what the panes ask for, on behalf of one screen."""

    def __init__(
        self,
        screen: Screen[Any],
        backend: Backend,
        uploads: UploadRows,
        usual: UploadChoices,
        *,
        has_sheet: bool,
        now: Callable[[], datetime],
    ) -> None:
        """`now` is of when the uploads tell; `usual` is where uploads go as the settings have it, and with `has_sheet`
        that is shown before they start."""
        self._screen = screen
        self._usual = usual
        self._has_sheet = has_sheet
        self._backend = backend
        self._uploads = uploads
        self._now = now
        self._asked = 0  # undoable actions so far; the one that was asked for last is undone, not the last answered
        self._unanswered: set[int] = set()
        self._undone: tuple[int, Steps] = (0, ())
        self._must_undo = False  # as soon as what was asked is answered

    # ---- new uploads

    def upload(self, paths: Sequence[str]) -> None:
        """Show what that comes to; once it is accepted, do it."""
        if self._has_sheet:
            sheet = UploadSheet(self._backend, paths, self._usual, partial(self._add, tuple(paths)))
            self._screen.app.push_screen(sheet)
        else:
            self._add(tuple(paths), self._usual)

    def _add(self, paths: tuple[str, ...], choices: UploadChoices) -> None:
        other = None if choices == self._usual else choices
        run_in_background(self._screen.app, partial(self._backend.add_uploads, paths, other), self._added)

    def _added(self, added: Added) -> None:
        message = f"{count(added.uploads, 'upload')} waiting, {byte_size(added.total_bytes)}"
        if added.refusals:
            self._say(f"{message}\n{refusal_lines(added.refusals)}", "Some refused", severity="warning")
        else:
            self._say(message, "Added")

    # ---- a folder that uploads itself

    def watch(self, folder: str) -> None:
        """Ask whether to watch a folder, and begin."""
        shown = visible(folder)

        def answered(sure: bool | None) -> None:
            if sure:
                run_in_background(self._screen.app, partial(self._backend.watch_folder, folder), begun)

        def begun(_: None) -> None:
            self._say(f"{shown}, as long as this console runs; w shows all watches", "Watching")

        text = (
            f"All files in {shown} and below it are uploaded, those that are there and those that come, "
            "as long as this console runs.\nFor good: upload-console watch, or in the configuration\n[[watch]]\n"
            f"folder = {visible(json.dumps(folder, ensure_ascii=False))}"
        )
        choices = (Choice("n", "No", False), Choice("y", "Watch it", True))
        self._screen.app.push_screen(ChoiceDialog("Watch this folder?", text, choices, answered))

    # ---- actions on uploads that are there

    def act(self, action: UploadAction, ids: tuple[ObjectId, ...]) -> None:
        """Carry it out; what takes something away asks first."""
        if action is UploadAction.DELETE:
            self._ask_delete(ids)
        elif action is UploadAction.CANCEL and (len(ids) > 1 or self._arrived(ids[0])):
            self._ask_cancel(ids)
        elif action is UploadAction.LINK:
            self._ask_link(ids)
        elif action is UploadAction.VERIFY:
            self._verify(ids)
        else:
            self._carry_out(action, ids)

    def act_on_job(self, action: UploadAction, job: JobTotals) -> None:
        """Carry it out on all uploads of a job that it applies to."""

        def found(ids: list[ObjectId]) -> None:
            if ids:
                self.act(action, tuple(ids))
            else:
                words = " or ".join(APPLIES_TO[action]) if action is not UploadAction.DELETE else "there"
                self._say(f"{visible(job.name)}: no upload of it is {words}", f"No {action}", "warning")

        asked = partial(self._backend.uploads_of_job, job.id, APPLIES_TO[action])
        run_in_background(self._screen.app, asked, found)

    def _arrived(self, upload_id: ObjectId) -> int:
        """How many bytes cancelling that upload would throw away."""
        row = self._uploads.row(upload_id)
        return row.current if isinstance(row, Upload) and row.status in _KEEPS_PARTS else 0

    def _ask_cancel(self, ids: tuple[ObjectId, ...]) -> None:
        if len(ids) > 1:
            rows = [self._uploads.row(upload_id) for upload_id in ids]
            over = sum(isinstance(row, Upload) and row.status in _OVER for row in rows)
            if over == len(ids):
                self._say(f"all {over:,} are completed or cancelled already", "Nothing to cancel", "warning")
                return
            others = f" {over:,} more are over and stay as they are." if over else ""
            text = f"What arrived is removed from S3.{others}"
            yes = "Cancel it" if len(ids) - over == 1 else "Cancel them"
            self._sure(f"Cancel {count(len(ids) - over, 'upload')}?", text, yes, UploadAction.CANCEL, ids)
        else:
            text = f"{byte_size(self._arrived(ids[0]))} arrived; they are removed from S3."
            self._sure(f"Cancel {self._name(ids[0])}?", text, "Cancel it", UploadAction.CANCEL, ids)

    def _name(self, upload_id: ObjectId) -> str:
        row = self._uploads.row(upload_id)
        return visible(row.filename) if isinstance(row, Upload) else str(upload_id)

    def _ask_delete(self, ids: tuple[ObjectId, ...]) -> None:
        row = self._uploads.row(ids[0])
        running = sum(self._runs(upload_id) for upload_id in ids)
        if running == len(ids):
            which = f"{self._name(ids[0])} is" if len(ids) == 1 else f"all {running:,} are"
            self._say(f"{which} being uploaded: cancel first", "Not deleted", "warning")
        elif len(ids) == 1 and isinstance(row, Upload):
            is_there = row.status is UploadStatus.COMPLETED
            what = f"{visible(row.destination)}\nand the record" if is_there else "What arrived of it, and the record"
            text = f"{what} of the upload. The file on {visible(row.host)} stays."
            self._sure(f"Delete {visible(row.filename)}?", text, "Delete it", UploadAction.DELETE, ids)
        else:
            text = "Their objects in S3 and their records. The files stay."
            if running:
                text += f" {running:,} of them {'is' if running == 1 else 'are'} being uploaded and will be refused."
            held, total = self._uploads.held, self._uploads.total
            # Whoever marked all rows marked those that are loaded.
            many = f"{len(ids):,} of {total:,} uploads" if held < total else count(len(ids), "upload")
            if len(ids) > MANY:
                self._ask_number(f"Delete {many}? {text}", UploadAction.DELETE, ids)
            else:
                self._sure(f"Delete {many}?", text, "Delete them", UploadAction.DELETE, ids)

    def _ask_number(self, question: str, action: UploadAction, ids: tuple[ObjectId, ...]) -> None:
        """So many are not taken away by one key."""

        def read(text: str) -> int:
            if text.strip().replace(",", "") != str(len(ids)):
                raise UsageError(f"expected {len(ids):,}, the number of uploads; escape leaves them as they are")
            return len(ids)

        def answered(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                self._carry_out(action, ids)

        field = Field("number", f"{question}\nType their number, {len(ids):,}:", "", read)
        self._screen.app.push_screen(FormDialog(f"{str(action).capitalize()}?", [field], answered))

    def _runs(self, upload_id: ObjectId) -> bool:
        """Whether a runner is at work on it: then nobody may delete it."""
        row = self._uploads.row(upload_id)
        return isinstance(row, Upload) and row.status is UploadStatus.UPLOADING and not is_stalled(row, self._now())

    def undo(self) -> None:
        """Take back the last pause, cancellation or priority, as far as that goes; behind it, if it is under way."""
        if self._unanswered:
            self._must_undo = True
            return
        (_, steps), self._undone = self._undone, (self._asked, ())
        if not steps:
            self._say("nothing to undo: pausing, cancelling and priorities can be undone", "Undo")
        self._carry_out_one_by_one(steps)

    def _carry_out_one_by_one(self, steps: Steps) -> None:
        if steps:
            action, ids = steps[0]
            again = ((_INVERSE[action], ids),) if action in _INVERSE else ()
            self._carry_out(action, ids, again, lambda: self._carry_out_one_by_one(steps[1:]))

    def _steps_back(self, action: UploadAction, ids: Sequence[ObjectId]) -> Steps:
        """What undoes an action that is about to begin: only what it changes, as far as the table knows."""
        if action not in _INVERSE:
            return ()
        rows = [row for upload_id in ids if isinstance(row := self._uploads.row(upload_id), Upload)]
        changes = tuple(row.id for row in rows if not _is_so(row, action))
        steps = [(_INVERSE[action], changes)]
        if action is UploadAction.CANCEL:
            steps.append((UploadAction.PAUSE, tuple(row.id for row in rows if row.status is UploadStatus.PAUSED)))
        return tuple((inverse, each) for inverse, each in steps if each)

    def _answered(self, number: int, steps: Steps) -> None:
        """An undoable action ended."""
        self._unanswered.discard(number)
        if steps and number > self._undone[0]:
            self._undone = number, steps
        if self._must_undo and not self._unanswered:
            self._must_undo = False
            self.undo()

    def _sure(self, title: str, text: str, yes: str, action: UploadAction, ids: tuple[ObjectId, ...]) -> None:
        def answered(sure: bool | None) -> None:
            if sure:
                self._carry_out(action, ids)

        choices = (Choice("n", "No", False), Choice("y", yes, True))
        self._screen.app.push_screen(ChoiceDialog(title, text, choices, answered))

    def _carry_out(
        self,
        action: UploadAction,
        ids: tuple[ObjectId, ...],
        steps_back: Steps | None = None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """`steps_back` are what undoes it, where that is known better than from the table; `then` comes behind it."""
        which = self._name(ids[0]) if len(ids) == 1 else count(len(ids), "upload")
        waiting = self._screen.set_timer(
            _SLOW_SECONDS, lambda: self._say(f"{which}: waiting for MongoDB", str(action).capitalize())
        )

        steps = steps_back if steps_back is not None else self._steps_back(action, ids)
        self._asked += 1
        number = self._asked
        if steps:
            self._unanswered.add(number)

        def done(outcome: Outcome) -> None:
            waiting.stop()
            self._carried_out(action, outcome)
            self._answered(number, _without(steps, outcome.refused))
            then()

        def failed(error: Exception) -> None:
            waiting.stop()
            self._answered(number, ())
            title, text = title_and_text(error)
            self._say(f"{which}\n{title}: {text}", f"{str(action).capitalize()}: not done", severity="error")

        run_in_background(self._screen.app, partial(carry_out, self._backend, action, ids), done, failed)

    def _carried_out(self, action: UploadAction, outcome: Outcome) -> None:
        """What obeys is seen in the table at once; only what does not needs words."""
        gone = deletion_message(outcome) if action is UploadAction.DELETE and outcome.changed else ""
        if outcome.refused:
            text = "\n".join(filter(None, (refusal_message(outcome, self._name), gone and f"deleted: {gone}")))
            all_of_them = outcome.changed + len(outcome.refused)
            done = f": {outcome.changed:,} of {all_of_them:,}" if outcome.changed else " refused"
            self._say(text, f"{str(action).capitalize()}{done}", severity="warning")
        elif gone:
            self._say(gone, "Deleted")
        elif action is UploadAction.RETRY:
            # They may have left the view that showed them.
            self._say(f"{count(outcome.changed, 'upload')} waiting again", "Retry")

    # ---- about one upload

    def _ask_link(self, ids: Sequence[ObjectId]) -> None:
        if len(ids) > 1:
            self._say(f"a link leads to one object, and {len(ids):,} uploads are marked", "No link", "warning")
            return
        [upload_id] = ids
        row = self._uploads.row(upload_id)
        if not isinstance(row, Upload):
            return
        if row.status is not UploadStatus.COMPLETED:
            self._say(f"{visible(row.filename)} is {row.status}: there is no object yet", "No link", "warning")
            return

        def answered(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                seconds = int(values["seconds"])
                screen = LinkScreen(visible(row.filename), duration(seconds))
                self._screen.app.push_screen(screen)
                run_in_background(
                    self._screen.app, partial(self._backend.link, upload_id, seconds), screen.show, screen.fail
                )

        self._screen.app.push_screen(FormDialog(f"Link to {visible(row.filename)}", lifetime_fields(), answered))

    def _verify(self, ids: Sequence[ObjectId]) -> None:
        names = [self._name(upload_id) for upload_id in ids]
        run_in_background(self._screen.app, partial(verify_all, self._backend, ids), partial(self._verified, names))
        self._say(
            f"comparing {count(len(ids), 'object')} with {'its file' if len(ids) == 1 else 'their files'}", "Verify"
        )

    def _verified(self, names: Sequence[str], verifications: Sequence[Comparison]) -> None:
        title, severity = _VERIFIED[worst(verifications)]
        if len(names) == 1:
            message = f"{names[0]}\n{visible(verifications[0].message)}"
        else:
            message = verification_message(names, verifications)
        self._say(message, title, severity=severity)

    # ---- limits and orphans

    def change_limits(self) -> None:
        def answered(values: Mapping[str, Any] | None) -> None:
            if values is not None:
                run_in_background(self._screen.app, partial(self._set_limits, values), self._limits_set)

        form = FormDialog("Limits", limit_fields(), answered)
        self._screen.app.push_screen(form)
        run_in_background(self._screen.app, self._backend.limits, lambda limits: form.fill(limit_texts(limits)))

    def _set_limits(self, values: Mapping[str, Any]) -> Limits:
        limits = dataclasses.replace(self._backend.limits(), **values)
        self._backend.set_limits(limits)
        return limits

    def _limits_set(self, limits: Limits) -> None:
        rate = f"{byte_size(limits.bandwidth)}/s" if limits.bandwidth else "no bandwidth limit"
        self._say(
            f"{rate}, {count_at_once(limits.uploads, 'upload')}, {count_at_once(limits.parts, 'part')} at once",
            "Limits",
        )

    def sweep(self) -> None:
        """Look for multipart uploads that no record owns, and abort them if the person says so."""
        found: list[OpenMultipart] = []

        def answered(sure: bool | None) -> None:
            if sure:
                run_in_background(self._screen.app, partial(self._backend.abort_orphans, found), self._swept)

        def known(orphans: list[OpenMultipart]) -> None:
            found.extend(orphans)
            dialog.ask(*_sweep_question(orphans))

        def failed(error: Exception) -> None:
            title, text = title_and_text(error)
            dialog.ask(f"{title}: {text}", (Choice("c", "Close", False),))

        looking = "Looking for multipart uploads that no record owns…"
        dialog = ChoiceDialog("Sweep", looking, (Choice("n", "Stop looking", False),), answered)
        self._screen.app.push_screen(dialog)
        run_in_background(self._screen.app, self._backend.orphans, known, failed)

    def _swept(self, number: int) -> None:
        self._say(count(number, "multipart upload"), "Aborted")

    def _say(self, message: str, title: str, severity: Any = "information") -> None:
        self._screen.app.notify(message, title=title, severity=severity, timeout=NOTICE_SECONDS, markup=False)


def _is_so(row: Upload, action: UploadAction) -> bool:
    """Whether the upload is already what the action would make it."""
    match action:
        case UploadAction.PAUSE:
            return row.requested is Requested.PAUSE or row.status.is_terminal
        case UploadAction.RESUME:
            return row.requested is Requested.RUN
        case UploadAction.CANCEL:
            return row.status in _OVER
    return False


def _without(steps: Steps, refused: Mapping[ObjectId, str]) -> Steps:
    """The steps without uploads that refused what they would undo."""
    left = [(action, tuple(each for each in ids if each not in refused)) for action, ids in steps]
    return tuple((action, ids) for action, ids in left if ids)


def _sweep_question(orphans: Sequence[OpenMultipart]) -> tuple[str, tuple[Choice[bool], ...]]:
    """What was found, and what can be done about it."""
    if not orphans:
        return "Every multipart upload in the bucket has a record.", (Choice("c", "Close", False),)
    known = [orphan.stored_bytes for orphan in orphans if orphan.stored_bytes is not None]
    lines = [f"{orphan.initiated_at:%Y-%m-%d %H:%M} {visible(orphan.key)}" for orphan in orphans]
    size = f", {byte_size(sum(known))} kept by S3" if known else ""
    text = f"{count(len(orphans), 'multipart upload')} that no record owns{size}:\n" + "\n".join(lines)
    return text, (Choice("n", "Leave them", False), Choice("y", "Abort them", True))


def refusal_lines(refusals: Sequence[Refusal]) -> str:
    """The first refusals, a line each, and how many more there are."""
    lines = [f"{visible(refusal.path)}: {visible(refusal.reason)}" for refusal in refusals[:SHOWN_REFUSALS]]
    if len(refusals) > SHOWN_REFUSALS:
        lines.append(f"and {len(refusals) - SHOWN_REFUSALS:,} more")
    return "\n".join(lines)
