"""Whether a file's content is that of an upload, by the checksum in its record alone: nothing is asked of S3."""

from __future__ import annotations

from console.models import Upload
from console.transfer.checksums import Algorithm
from console.transfer.control import Control
from console.transfer.engine import Answer
from console.transfer.errors import TransferError
from console.transfer.objects import StoredObject
from console.transfer.plan import plan_parts
from console.transfer.source import SourceFile
from console.transfer.verify import compare


def has_content_of(path: str, upload: Upload, part_size: int | None, control: Control) -> bool:
    """Whether the file has the bytes that S3 confirmed. Reads all of it; `part_size` in bytes, as in the settings.

    What cannot be compared counts as different. Raises `Stopped` where `control` says so.
    """
    checksum = upload.checksum
    if checksum is None or upload.status.value != "completed":
        return False
    try:
        algorithm = Algorithm(checksum.algorithm)
        checksums: dict[Algorithm, str] = {} if algorithm is Algorithm.MD5 else {algorithm: checksum.value}
        stored = StoredObject(upload.size, Answer(checksum.value, checksums))
        with SourceFile.open(path) as source:
            size = plan_parts(source.state.size, part_size).part_size
            return compare(source, stored, size, control).same is True
    except (TransferError, ValueError):
        return False
