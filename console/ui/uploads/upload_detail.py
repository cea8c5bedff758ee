"""One upload in full: every field of its record, what to do about its error, and a download link that is kept
nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar, Final
from urllib.parse import quote

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.error_codes import Recovery, explain
from console.events.text import json_text, value_text
from console.formatting import age, byte_rate, byte_size, count, duration, visible
from console.models import ObjectFacts, UnreadableUpload, Upload, UploadStatus, clock_times
from console.ui.background import notify_error, title_and_text
from console.ui.uploads.upload_cells import is_retrying, is_stalled, percent, row_sign, status_text
from console.ui.uploads.uploads_window import Row
from console.ui.widgets.dialogs import Choice, ChoiceDialog
from console.ui.widgets.text_screen import copy

_VERDICTS: Final = {
    Recovery.RETRY: "all retries failed; what arrived is kept for a retry (R)",
    Recovery.NEEDS_ACTION: "needs fixing first; what arrived is kept for a retry (R)",
    Recovery.PERMANENT: "cannot succeed with this file and destination",
}
_CONFIRMED: Final = {
    "checksum": "confirmed by S3",
    "etag": "confirmed by S3's ETag",
    "parts": "S3 confirmed each part",
    "content": "read back from S3",
    "size": "of the file; S3 returned its size only",
}


class UploadTab(Enum):
    """What of an upload is shown."""

    DETAIL = "Detail"
    EVENTS = "Events"
    OBJECT = "Object"


def record_lines(row: Row, now: datetime) -> Iterator[tuple[str, str]]:
    """Label and value of everything worth knowing about an upload, the error first."""
    if isinstance(row, UnreadableUpload):
        yield "unreadable", visible(row.problem)
        yield "_id", value_text(row.id)
        yield "document", "\n" + json_text(row.document, relaxed=True)
        return
    yield "name", visible(row.filename)
    yield "status", f"{row_sign(row, now).text} {status_text(row, now).text}"
    if is_stalled(row, now):
        yield "", f"its runner is gone; a console or watcher on {visible(row.host)} takes it over"
    yield from _error_lines(row)
    yield "file", visible(row.path)
    yield "host", visible(row.host)
    yield "destination", visible(row.destination)
    if row.endpoint is not None:
        yield "endpoint", visible(row.endpoint)
    if row.under_way > row.current:
        yield "on its way", f"{byte_size(row.under_way - row.current)} more, not yet confirmed by S3"
    yield (
        "progress",
        f"{percent(row.percentage)}  {byte_size(row.current)} of {byte_size(row.size)} ({row.size:,} bytes)",
    )
    if row.rate:
        yield "rate", f"{byte_rate(row.rate)}, {duration(row.seconds_left)} left"
    yield "type", visible(row.content_type)
    yield from _result_lines(row)
    source = f"{row.source} {visible(row.watch.rule)}" if row.watch is not None else str(row.source)
    yield "from", f"{source}, priority {row.priority}, {count(row.attempts, 'attempt')}"
    if row.hours:
        yield "hours", "-".join(clock_times(row.hours))
    if row.created_by is not None:
        yield "created by", visible(str(row.created_by))
    if row.requested_by is not None:
        yield f"{row.requested} by", visible(str(row.requested_by))
    if row.multipart is not None:
        yield "multipart", f"{byte_size(row.multipart.part_size)} parts, {visible(row.multipart.upload_id)}"
    if row.lease is not None:
        yield "lease", f"{visible(row.lease.runner)} until {_time(row.lease.expires_at)}"
    for label in ("created", "started", "updated", "finished"):
        moment = getattr(row, f"{label}_at")
        if moment is not None:
            yield label, f"{_time(moment)}  {age(moment, now)} ago"
    yield "_id", str(row.id)


def _error_lines(row: Upload) -> Iterator[tuple[str, str]]:
    if row.error is None:
        return
    is_past = row.status is not UploadStatus.FAILED and not is_retrying(row) and not row.is_left
    yield "earlier" if is_past else "error", f"{visible(row.error.code)}  {_time(row.error.at)}"
    yield "", visible(row.error.message)
    meaning = explain(row.error.code)
    if row.is_left:
        yield "meaning", meaning.message
        yield "to do", meaning.advice
        return
    if row.status is not UploadStatus.FAILED:
        message = "a failure that it got over" if is_past else "it is being tried again"
        yield "", f"{message}: {meaning.message}"
        return
    yield "meaning", f"{meaning.message}: {_VERDICTS[meaning.recovery]}"
    if meaning.advice:
        yield "to do", meaning.advice


def _result_lines(row: Upload) -> Iterator[tuple[str, str]]:
    if row.checksum is not None:
        confirmed = _CONFIRMED.get(row.checksum.confirmed, row.checksum.confirmed)
        yield "checksum", visible(f"{row.checksum.algorithm} {row.checksum.value} {row.checksum.kind}, {confirmed}")
    if row.etag:
        yield "etag", visible(row.etag)
    if row.version_id:
        yield "version", visible(row.version_id)


def _time(moment: datetime) -> str:
    try:
        return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    except (OverflowError, OSError, ValueError):  # in the year 1 or 9999, as somebody else may have written it
        return f"{moment:%Y-%m-%d %H:%M:%S %Z}"


def object_url(row: Upload) -> str:
    """The address of the object, for whoever has the rights to read it; it is no presigned link."""
    return f"{row.endpoint or 'https://s3.amazonaws.com'}/{quote(row.bucket)}/{quote(row.key, safe='/~')}"


def ask_what_to_copy(app: App[Any], row: Row | None, json: str) -> None:
    """Ask for the key of what is to be copied, and copy it."""
    texts = {"j": ("JSON, the whole record", json)}
    if isinstance(row, Upload):
        texts = {
            "k": ("key", row.key),
            "u": ("URL of the object, without a signature", object_url(row)),
            "s": ("S3 address", row.destination),
            "p": ("path of the file", row.path),
            "i": ("id of the upload", str(row.id)),
        } | texts

    def answered(key: str | None) -> None:
        if key is not None:
            words, text = texts[key]
            copy(app, text, f"the {words.partition(',')[0]}" if words[0] != "U" else "the URL")

    choices = [Choice(key, f"{words[0].upper()}{words[1:]}", key) for key, (words, _) in texts.items()]
    app.push_screen(ChoiceDialog("Copy", "To your terminal's clipboard (OSC 52).", choices, answered))


def object_lines(facts: ObjectFacts, row: Row | None, now: datetime) -> Iterator[tuple[str, str]]:
    """Label and value of what S3 says of an object."""
    if not facts.exists:
        yield "object", "there is none under this key"
    else:
        yield "object", f"{byte_size(facts.size)} ({facts.size:,} bytes)"
        yield "made by", _maker(facts, row)
        if facts.modified_at is not None:
            yield "modified", f"{_time(facts.modified_at)}  {age(facts.modified_at, now)} ago"
        yield "etag", visible(facts.etag)
        if facts.version_id:
            yield "version", visible(facts.version_id)
        for name, value in facts.headers.items():
            yield visible(name), visible(value)
        for number, (name, value) in enumerate(facts.metadata.items()):
            yield ("metadata" if number == 0 else ""), f"{visible(name)} = {visible(value)}"
    if isinstance(row, Upload):
        yield "address", visible(object_url(row))
    if facts.versions_problem:
        yield "versions", f"cannot be listed: {visible(facts.versions_problem)}"
    elif not facts.versions:
        yield "versions", "the bucket keeps none"
    for number, version in enumerate(facts.versions):
        when = _time(version.modified_at) if version.modified_at is not None else ""
        what = "deleted" if version.is_deleted else byte_size(version.size)
        latest = "  newest" if version.is_latest else ""
        yield ("versions" if number == 0 else ""), f"{when}  {what}  {visible(version.version_id)}{latest}"


def _maker(facts: ObjectFacts, row: Row | None) -> str:
    if not facts.owner:
        return "nobody says: the object bears no mark of an upload"
    if row is not None and facts.owner == str(row.id):
        return "this upload"
    return f"upload {visible(facts.owner)}, not this one"


class LinkScreen(ModalScreen[None]):
    """The whole link, and that it was copied; until it is there, that it is being made."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Back", tooltip="Close; the link is shown only once."),
        Binding("y", "copy", "Copy", tooltip="Copy the link to your terminal's clipboard (OSC 52)."),
    ]

    def __init__(self, name: str, lifetime: str) -> None:
        super().__init__()
        self._name = name
        self._link = ""
        self._lifetime = lifetime
        self._text = Static("making the link…", classes="dialog--link", markup=False)
        self._about = Static("", classes="dialog--text", markup=False)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog") as dialog:
            dialog.border_title = Content(f"Link to {self._name}")
            dialog.border_subtitle = "y copies · escape closes"
            yield self._text
            yield self._about

    def show(self, link: str) -> None:
        """Show the link. It is copied at once: that is what it was made for."""
        self._link = link
        if self.is_current:
            self._text.update(Content(visible(link)))
            self._about.update(
                f"Works for {self._lifetime}, for whoever has it. Sent to your terminal's clipboard; stored nowhere."
            )
            self.action_copy()

    def fail(self, error: Exception) -> None:
        """Say why there is none."""
        title, text = title_and_text(error)
        if self.is_current:
            self._text.update(Content(f"{title}: {text}"))
        else:
            notify_error(self.app, error)

    def action_copy(self) -> None:
        if self._link:
            self.app.copy_to_clipboard(self._link)
