"""Comparing an object's checksum or ETag with its file again. The file is read once; nothing is downloaded."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from console.formatting import visible
from console.models import Comparison, Storage, Upload
from console.s3.checksums import Algorithm
from console.s3.confirmation import SentPart, confirm_body, confirm_object
from console.s3.control import Control
from console.s3.engines.engine import StoredBody
from console.s3.engines.source import SourceFile
from console.s3.engines.staged import StagedSource, stage, steps
from console.s3.operations import StoredObject, first_part_size, head_object, require_bucket
from console.s3.part_size import OTHERS_PART_SIZES, USUAL_PART_SIZE, Part, PartPlan, plan_parts
from console.s3.retry import call_with_retries
from console.s3.transfer_errors import TransferError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_PARTS: Final = re.compile(r"-(\d+)$")


def compare(source: SourceFile, stored: StoredObject, part_size: int | None, control: Control) -> Comparison:
    """Compare an open file with an object. `part_size` (bytes) is needed for what is made of parts' digests.

    Raises:
        TransferError: the file changed or cannot be read. Stopped: `control` said so.
    """
    size = source.state.size
    if stored.size != size:
        return Comparison(False, f"the object has {stored.size} bytes, the file {size}")
    answer = _strongest(stored.answer)
    count = _part_count(answer)
    parts: list[Part] = [Part(1, 0, size)]
    if count is not None:
        lengths = (part_size, USUAL_PART_SIZE, plan_parts(size, None).part_size, *OTHERS_PART_SIZES)
        plans = (PartPlan(size, length) for length in lengths if length is not None)
        plan = next((plan for plan in plans if len(plan) == count), None)
        if plan is None:
            return Comparison(None, "only the size can be compared: the object's part size is not known")
        parts = list(plan)
    algorithms = set(answer.checksums) or {Algorithm.MD5}
    sent = [
        SentPart(part.number, part.length, source.digests(part.offset, part.length, algorithms, control), "")
        for part in parts
    ]
    source.check_unchanged()
    try:
        confirmed = confirm_object(answer, sent) if count is not None else confirm_body(answer, sent[0].digests)
    except TransferError as mismatch:
        return Comparison(False, mismatch.message)
    if confirmed is None:
        return Comparison(None, "only the size can be compared: the object has no checksum, and its ETag is not an MD5")
    return Comparison(True, f"{confirmed.algorithm} and size of file and object are the same", confirmed)


def verify_upload(
    s3: S3Client, upload: Upload, control: Control, *, preferred_part_size: int | None = None
) -> Comparison:
    """Compare a completed upload's object with its file as both are now. The preferred part size (bytes) is what the
    upload was probably sent with, for servers that do not tell.

    Raises:
        TransferError: file or object cannot be looked at. Stopped: `control` said so.
    """
    if upload.is_from_pipe:
        stored = _stored(s3, upload)
        return _compare_with_record(upload, stored) if stored is not None else _gone(upload)
    with SourceFile.open(upload.os_path, upload.below) as source:
        stored = _stored(s3, upload)
        if stored is None:
            return _gone(upload)
        if upload.checksum is not None and upload.checksum.confirmed != "etag" and stored.answer.etag == upload.etag:
            # The same object still, whose ETag was not seen to be an MD5: it may only look like one.
            stored = replace(stored, answer=replace(stored.answer, etag_is_md5=False))
        told = None
        if upload.is_transformed:
            return _compare_transformed(source, upload, stored, preferred_part_size, control)
        if _part_count(_strongest(stored.answer)) is not None:
            told = first_part_size(s3, upload.bucket, upload.key, upload.version_id)
        probable = plan_parts(source.state.size, preferred_part_size).part_size
        result = compare(source, stored, told or probable, control)
        if result.same is not False:
            return result
        if source.state.fingerprint != upload.fingerprint:
            return Comparison(False, f"the file changed since it was uploaded; {result.message}")
        if told is None and _part_count(_strongest(stored.answer)) is not None and stored.size == source.state.size:
            return Comparison(None, "only the size can be compared: the object's part size is not known")
        return result


def _stored(s3: S3Client, upload: Upload) -> StoredObject | None:
    stored = call_with_retries(lambda: head_object(s3, upload.bucket, upload.key, upload.version_id))
    if stored is None:
        require_bucket(s3, upload.bucket)
    return stored


def _gone(upload: Upload) -> Comparison:
    return Comparison(False, f"{visible(upload.destination)} no longer exists")


def _compare_with_record(upload: Upload, stored: StoredObject) -> Comparison:
    """There is no file any more: whether it is still the object whose checksum S3 confirmed."""
    if stored.size != upload.size and not upload.is_transformed:
        return Comparison(False, f"the object has {stored.size} bytes, {upload.size} came from the pipe")
    known, told = upload.checksum, {each.value: value for each, value in stored.answer.checksums.items()}
    if known is not None and known.algorithm in told:
        is_same = told[known.algorithm] == known.value
        return Comparison(is_same, _OF_PIPE[is_same].format(known.algorithm), known if is_same else None)
    if upload.etag and stored.answer.etag and ("-" in upload.etag) == ("-" in stored.answer.etag):
        is_same = upload.etag == stored.answer.etag
        return Comparison(is_same, _OF_PIPE[is_same].format("ETag"), known if is_same else None)
    return Comparison(None, "it came from a pipe, and S3 tells no checksum of it: only the size can be compared")


_OF_PIPE: Final = {
    True: "it came from a pipe; {} is that of the object that S3 confirmed",
    False: "the object is another one than S3 confirmed ({})",
}


def _compare_transformed(
    source: SourceFile, upload: Upload, stored: StoredObject, part_size: int | None, control: Control
) -> Comparison:
    """A file that was compressed is compressed once more; one that was encrypted can only be the one that was."""
    storage = upload.storage or Storage()
    todo = steps(upload.content_type, storage.compress, storage.encrypt_to or ())
    if "age" in todo:
        if upload.etag and stored.answer.etag and stored.answer.etag != upload.etag:
            return Comparison(False, "the object is another one than S3 confirmed")
        return Comparison(None, "it was encrypted on the way: the object cannot be compared with the file")
    if source.state.fingerprint != upload.fingerprint:
        return Comparison(False, "the file changed since it was uploaded")
    staged = stage(source, todo, (), control)
    try:
        return compare(staged, stored, plan_parts(staged.state.size, part_size).part_size, control)
    finally:
        if isinstance(staged, StagedSource):
            staged.drop()


def _strongest(answer: StoredBody) -> StoredBody:
    """The answer reduced to what is compared: one checksum, of the whole object if there is one, or the ETag."""
    computable = {algorithm: value for algorithm, value in answer.checksums.items() if algorithm.is_available}
    for of_whole in (True, False):
        for algorithm, value in computable.items():
            if ("-" not in value) is of_whole:
                return StoredBody(answer.etag, {algorithm: value}, answer.version_id, answer.etag_is_md5)
    return StoredBody(answer.etag, {}, answer.version_id, answer.etag_is_md5)


def _part_count(answer: StoredBody) -> int | None:
    """How many parts' digests the value to compare is made of; None where it is one of the whole object."""
    value = next(iter(answer.checksums.values()), answer.etag)
    match = _PARTS.search(value)
    return int(match.group(1)) if match else None
