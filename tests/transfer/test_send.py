"""One upload against the real S3 server: whole, in parts, stopped and resumed."""

from __future__ import annotations

import pytest

from console.s3.transfer_errors import Stopped
from console.transfer.send import send
from console.transfer.transport import Transport

from .conftest import Store, on_each_store
from .doubles import MIB, Commands, MakeFile, Notes, an_upload, options

pytestmark = on_each_store


@pytest.mark.parametrize("size", [0, 1, 100_000, 5 * MIB - 1])
def test_a_small_file_is_one_object(
    store: Store, transport: Transport, client, bucket_there: str, make_file: MakeFile, size: int
) -> None:
    path = make_file(size)
    notes = Notes()
    done = send(
        an_upload(path, bucket_there), transport=transport, options=options(), journal=notes, control=Commands()
    )
    assert client.get_object(Bucket=bucket_there, Key="file.bin")["Body"].read() == path.read_bytes()
    assert notes.totals == [size]
    assert notes.net_sent == done.sent_bytes == size
    assert done.checksum.confirmed == store.confirmed
    assert notes.opened == []


def test_a_large_file_goes_in_parts(
    store: Store, transport: Transport, client, bucket_there: str, make_file: MakeFile
) -> None:
    path = make_file(12 * MIB + 7)
    notes = Notes()
    done = send(
        an_upload(path, bucket_there), transport=transport, options=options(), journal=notes, control=Commands()
    )
    assert client.get_object(Bucket=bucket_there, Key="file.bin")["Body"].read() == path.read_bytes()
    assert notes.totals[-1] == 12 * MIB + 7
    assert notes.totals == sorted(notes.totals)
    assert len(notes.opened) == 1
    assert done.sent_bytes == 12 * MIB + 7
    assert (done.checksum.kind, done.checksum.confirmed) == (
        ("COMPOSITE", "etag") if store.confirmed == "etag" else ("FULL_OBJECT", "checksum")
    )
    assert done.etag.endswith("-3")


def test_a_stopped_upload_goes_on_behind_its_parts(transport, client, bucket_there: str, make_file: MakeFile) -> None:
    path = make_file(17 * MIB)
    transport.pool.slots.resize(1)  # two parts have arrived when the third is left in its middle
    commands = Commands(after_bytes=12 * MIB)
    notes = Notes(commands)
    upload = an_upload(path, bucket_there)
    with pytest.raises(Stopped):
        send(upload, transport=transport, options=options(), journal=notes, control=commands)
    listed = client.list_parts(Bucket=bucket_there, Key="file.bin", UploadId=notes.opened[0].upload_id)["Parts"]
    assert [part["PartNumber"] for part in listed] == [1, 2]
    transport.pool.slots.resize(4)
    resumed = upload.model_copy(update={"multipart": notes.opened[0]})
    again = Notes()
    done = send(resumed, transport=transport, options=options(), journal=again, control=Commands())
    assert client.get_object(Bucket=bucket_there, Key="file.bin")["Body"].read() == path.read_bytes()
    assert again.opened == []
    assert done.sent_bytes == 7 * MIB
