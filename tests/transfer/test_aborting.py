"""Multipart uploads whose parts outlive an abort: nobody forgets them before they are gone."""

from __future__ import annotations

import pytest

from console.error_codes import Recovery
from console.models import Multipart
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.multipart import abort
from tests.faults.proxy import Answer

from .conftest import Connect
from .doubles import LARGE, MakeFile, Notes, an_upload, sent
from .strict_s3 import StrictS3


def opened_with_a_part(strict: StrictS3, s3) -> str:
    upload_id: str = s3.create_multipart_upload(Bucket="bucket", Key="file.bin")["UploadId"]
    s3.upload_part(Bucket="bucket", Key="file.bin", UploadId=upload_id, PartNumber=1, Body=b"x")
    assert list(strict.multiparts) == [upload_id]
    return upload_id


def test_parts_that_arrive_late_are_aborted_too(connect: Connect) -> None:
    strict, proxy, transport = connect(vain_aborts=2)
    abort(transport.s3, "bucket", "file.bin", opened_with_a_part(strict, transport.s3))
    assert strict.multiparts == {}
    assert proxy.count("AbortMultipartUpload") == 3


def test_an_abort_that_leaves_parts_says_so(connect: Connect) -> None:
    strict, _, transport = connect(vain_aborts=5)
    upload_id = opened_with_a_part(strict, transport.s3)
    with pytest.raises(TransferError) as caught:
        abort(transport.s3, "bucket", "file.bin", upload_id)
    assert (caught.value.code, caught.value.recovery) == ("OperationAborted", Recovery.RETRY)
    assert list(strict.multiparts) == [upload_id]
    abort(transport.s3, "bucket", "file.bin", upload_id)  # whoever comes back has better luck
    assert strict.multiparts == {}


def test_what_only_seems_open_is_gone(connect: Connect) -> None:
    """Without parts it costs nothing, whatever the server still says of it."""
    _, proxy, transport = connect(vain_aborts=99)
    upload_id = transport.s3.create_multipart_upload(Bucket="bucket", Key="file.bin")["UploadId"]
    abort(transport.s3, "bucket", "file.bin", upload_id)
    assert proxy.count("AbortMultipartUpload") == 1


def test_a_failed_upload_keeps_its_error_and_its_parts(connect: Connect, make_file: MakeFile) -> None:
    strict, proxy, transport = connect(vain_aborts=99)
    proxy.plan("CompleteMultipartUpload", Answer(400, "EntityTooLarge"))
    notes = Notes()
    with pytest.raises(TransferError, match="EntityTooLarge"):
        sent(an_upload(make_file(LARGE), "bucket"), transport, notes)
    assert notes.closed == 0  # the record still has it
    assert notes.codes == ["OperationAborted"]
    assert list(strict.multiparts) == [notes.opened[0].upload_id]


def test_no_second_multipart_upload_is_opened_while_the_first_has_parts(connect: Connect, make_file: MakeFile) -> None:
    strict, proxy, transport = connect(vain_aborts=5)
    path = make_file(LARGE)
    proxy.plan("CompleteMultipartUpload", Answer(400, "InvalidPart"), times=2)
    notes = Notes()
    upload = an_upload(path, "bucket")
    with pytest.raises(TransferError) as caught:
        sent(upload, transport, notes)
    assert (caught.value.code, caught.value.recovery) == ("OperationAborted", Recovery.RETRY)
    assert (len(notes.opened), notes.closed) == (1, 0)
    sent(upload.model_copy(update={"multipart": notes.opened[0]}), transport, notes)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert strict.multiparts == {}
    assert notes.closed == 1


def test_one_that_nobody_took_note_of_does_not_hide_why(connect: Connect, make_file: MakeFile) -> None:
    class TakenOver(Notes):
        def multipart_opened(self, multipart: Multipart) -> None:
            raise Stopped

    _, proxy, transport = connect()
    proxy.plan("AbortMultipartUpload", Answer(403, "AccessDenied"))
    with pytest.raises(Stopped):
        sent(an_upload(make_file(LARGE), "bucket"), transport, TakenOver())
    assert proxy.count("AbortMultipartUpload") == 1
