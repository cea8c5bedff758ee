"""`verify`: compare objects and files again, at any time after the upload."""

from __future__ import annotations

import sys

from pydantic import BaseModel

from console.cli.output import json_line, telling_if_long
from console.cli.selection import Selection
from console.error_codes import OUT_OF_REACH
from console.formatting import visible
from console.models import Upload, UploadStatus, read_upload
from console.records.database import Records
from console.s3.transfer_errors import TransferError
from console.settings import Settings
from console.transfer.sender import S3Sender


class VerifyLine(BaseModel):
    """One line of `verify --json`. `same` is null where it is not known: the server keeps nothing to compare but the
    size, or does not answer, or the file is not there to be read.
    """

    id: str
    path: str
    destination: str
    same: bool | None
    words: str


def run(settings: Settings, selection: Selection, *, as_json: bool) -> int:
    """Compare each completed upload that was selected. Returns 0 if all are known to be the same, else 1."""
    with Records.open(settings.mongodb, sets_up=False) as records, S3Sender(settings.s3, settings.transfer) as sender:
        missing = selection.missing(records.uploads)
        sys.stderr.writelines(f"  {upload_id}: no such upload\n" for upload_id in missing)
        all_same = not missing
        answers = 0
        unreachable: TransferError | None = None
        for document in records.uploads.get(selection.find(records.uploads)):
            upload = read_upload(document)
            if not isinstance(upload, Upload) or upload.status is not UploadStatus.COMPLETED:
                if not selection.all:
                    status = upload.status.value if isinstance(upload, Upload) else "unreadable"
                    sys.stderr.write(f"{upload.id} is {status}: nothing to compare\n")
                    all_same = False
                continue
            try:
                subject = f"{visible(upload.path)} → {visible(upload.destination)}"
                with telling_if_long(f"{subject}: the file is large, or S3 does not answer yet"):
                    line = _compare(sender, upload)
                answers += 1
            except TransferError as error:
                line = _line(upload, None, str(error))  # nothing was compared
                unreachable = error if error.code in OUT_OF_REACH else unreachable
            all_same = all_same and line.same is True
            sys.stdout.write(verify_text(line, as_json=as_json))
            sys.stdout.flush()
    if selection.all and not answers and unreachable is None:
        sys.stderr.write("No completed upload to compare.\n")
    if unreachable is not None and not answers:
        return unreachable.exit_code
    return 0 if all_same else 1


def _compare(sender: S3Sender, upload: Upload) -> VerifyLine:
    result = sender.verify(upload)
    return _line(upload, result.same, result.message)


def _line(upload: Upload, same: bool | None, message: str) -> VerifyLine:
    return VerifyLine(id=str(upload.id), path=upload.os_path, destination=upload.destination, same=same, words=message)


def verify_text(line: VerifyLine, *, as_json: bool) -> str:
    """The line as it is written."""
    return (json_line(line, with_nulls=True) if as_json else _words(line)) + "\n"


def _words(line: VerifyLine) -> str:
    sign = {True: "same", False: "DIFFERENT", None: "unknown"}[line.same]
    return f"{sign:<10} {visible(line.path)} → {visible(line.destination)}: {line.words}"
