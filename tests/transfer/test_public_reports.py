"""What users of other uploaders reported of S3 servers, tried on this one. docs/public-reports.md has the list."""

from __future__ import annotations

import contextlib
import os

import pytest

from console.s3.client import ClientOptions
from console.s3.part_size import plan_parts
from console.s3.transfer_errors import TransferError
from console.transfer.transport import open_transport
from tests.faults.breaking import CorruptBody, Do, DropAnswer
from tests.faults.proxy import Answer, EditAnswer, Request

from .conftest import Connect, on_each_store
from .doubles import LARGE, MIB, QUICK, SMALL, MakeFile, an_upload, sent
from .strict_s3 import StrictS3

NAMES = [
    "Special+Character.txt",
    "+askhn",
    "ab@cd",
    "~$Name.pptx",
    "te st%20test.txt",
    "Blabla_50%.jpg",
    "a&b;c=d?e#f.txt",
    "file:with:colons, and (brackets)'s!*.txt",
    "naïve-文件-🎉.txt",
    "tilde~and`tick^.txt",
]


@on_each_store
@pytest.mark.parametrize("name", NAMES)
def test_keys_of_any_letters_are_signed_and_stored_as_they_are(
    transport, client, bucket_there, make_file: MakeFile, name: str
) -> None:
    """akka/alpakka#838, durch/rust-s3#148, soto-project/soto#601, rustyconover/net-amazon-s3#119, aws/aws-sdk-php#45,
    minio/minio#6706, iterate-ch/cyberduck#16430."""
    for size in (SMALL, LARGE):
        path = make_file(size)
        sent(an_upload(path, bucket_there, f"dir/{name}"), transport)
        found = client.get_object(Bucket=bucket_there, Key=f"dir/{name}")["Body"].read()
        assert found == path.read_bytes()


@on_each_store
@pytest.mark.parametrize("size", [0, 5 * MIB, 10 * MIB, 10 * MIB + 1])
def test_sizes_at_the_edges_of_parts(transport, client, bucket_there, make_file: MakeFile, size: int) -> None:
    """ienzam/s3-multipart-upload-browser#6, transloadit/uppy#2451: a last part of no bytes."""
    path = make_file(size)
    sent(an_upload(path, bucket_there), transport)
    assert client.get_object(Bucket=bucket_there, Key="file.bin")["Body"].read() == path.read_bytes()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_every_body_has_a_length_and_no_trailer(connect: Connect, make_file: MakeFile, size: int) -> None:
    """boto/boto3#4398, storj/gateway-st#89, CleverCloud/clever-components#1767, boto/boto3#4102: 411."""
    strict, _, transport = connect()
    sent(an_upload(make_file(size), "bucket"), transport)
    bodies = [headers for method, _, headers in strict.requests if method == "PUT"]
    assert bodies
    for headers in bodies:
        assert int(headers["content-length"]) > 0
        assert not {"transfer-encoding", "x-amz-trailer", "content-encoding"} & headers.keys()


@pytest.mark.parametrize("behind", ["/", "//", ""])
def test_a_slash_behind_the_endpoint_changes_nothing(make_file: MakeFile, behind: str) -> None:
    """pingcap/br#992, apache/arrow-rs#6580: `//bucket/key`."""
    with StrictS3() as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url + behind))
        for size in (SMALL, LARGE):
            sent(an_upload(make_file(size), "bucket", str(size)), transport)
        transport.close()
    assert sorted(strict.objects) == sorted([str(SMALL), str(LARGE)])


@pytest.mark.parametrize("code", ["SlowDown", "InternalError"])
def test_a_completion_that_fails_with_status_200_is_repeated(connect: Connect, make_file: MakeFile, code: str) -> None:
    """An error behind 200 OK."""
    strict, proxy, transport = connect()
    proxy.plan("CompleteMultipartUpload", Answer(200, code), times=2)
    path = make_file(LARGE)
    sent(an_upload(path, "bucket"), transport)
    assert strict.objects["file.bin"].data == path.read_bytes()


def test_a_login_page_in_place_of_s3_is_no_success(connect: Connect, make_file: MakeFile) -> None:
    """A captive portal, or a reverse proxy's login page, answers 200 with HTML to everything."""
    _, proxy, transport = connect()
    page = b"<html><body>Log in</body></html>"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(page)
    proxy.plan("*", EditAnswer(lambda answer: head + page), times=99)
    for size in (SMALL, LARGE):
        with pytest.raises(TransferError):
            sent(an_upload(make_file(size), "bucket", "page"), transport)


def test_an_answer_that_repeats_a_key_as_no_xml_can_is_read(connect: Connect, make_file: MakeFile) -> None:
    """aws/aws-cli#5050: CreateMultipartUpload answers with the key, and XML has no backspace."""
    strict, _, transport = connect()
    path = make_file(LARGE)
    key = "16109/KM\rIKM\x08\x08.jpg"
    sent(an_upload(path, "bucket", key), transport)
    assert [stored.data for stored in strict.objects.values()] == [path.read_bytes()]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidArgument", "Unsupported header 'x-amz-checksum-crc32c' received for this API call."),
        ("InvalidRequest", "Unsupported header 'x-amz-sdk-checksum-algorithm' received for this API call."),
        ("NotImplemented", "A header you provided implies functionality that is not implemented"),
    ],
)
def test_a_server_that_refuses_headers_of_checksums_gets_none(
    connect: Connect, make_file: MakeFile, size: int, code: str, words: str
) -> None:
    """io7m-com/exfilac#35, matrix-org/synapse-s3-storage-provider#128 (Backblaze B2)."""
    strict, proxy, transport = connect(brief=True)

    def has_checksum(request: Request) -> bool:
        return any(name.lower().startswith("x-amz-checksum") for name in request.headers)

    for operation in ("PutObject", "UploadPart", "CreateMultipartUpload", "CompleteMultipartUpload"):
        proxy.plan(operation, Answer(400, code, words), times=99, when=has_checksum)
    path = make_file(size)
    done = sent(an_upload(path, "bucket"), transport)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert done.checksum.confirmed == "etag"


def test_a_large_file_never_has_more_parts_than_the_server_takes() -> None:
    """rclone/rclone#415: TotalPartsExceeded."""
    for size in (1, 40 * MIB, 10_000 * 5 * MIB, 10_000 * 5 * MIB + 1, 5 * 1000 * 1024**3):
        for limit in (None, 1_000):
            plan = plan_parts(size, None, limit)
            assert len(plan) <= (limit or 10_000)
            assert sum(part.length for part in plan) == size


def test_a_large_file_is_confirmed_where_nobody_may_look_at_it(connect: Connect, make_file: MakeFile) -> None:
    """rclone/rclone#5956: without HEAD each multipart upload failed its checksum."""
    strict, proxy, transport = connect(write_only=True)
    path = make_file(LARGE)
    assert sent(an_upload(path, "bucket"), transport).checksum.confirmed == "checksum"
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert proxy.count("HeadObject") == 0


def test_a_part_that_cannot_be_sent_again_starts_the_upload_again(connect: Connect, make_file: MakeFile) -> None:
    """wiserain/rclone#46: "For sequential multipart upload, you can't overwrite uploaded parts"."""
    strict, proxy, transport = connect()
    path = make_file(LARGE)
    proxy.plan("UploadPart", DropAnswer(), times=1)
    refused = Answer(501, "NotImplemented", "For sequential multipart upload, you can't overwrite uploaded parts..")
    seen: set[str] = set()

    def is_repeated(request: Request) -> bool:
        part = f"{request.query['uploadId']}-{request.query['partNumber']}"
        is_second = part in seen
        seen.add(part)
        return is_second

    proxy.plan("UploadPart", refused, times=99, when=is_repeated)
    sent(an_upload(path, "bucket"), transport, retry=QUICK)
    assert strict.objects["file.bin"].data == path.read_bytes()


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_object_with_other_bytes_is_no_success(connect: Connect, make_file: MakeFile, size: int) -> None:
    """OneDrive/onedrive-api-docs#1577, rclone/rclone#750: part of the file was replaced on the way."""
    strict, proxy, transport = connect(brief=True)
    proxy.plan("PutObject" if size == SMALL else "UploadPart", CorruptBody(), times=1)
    path = make_file(size)
    sent(an_upload(path, "bucket"), transport, retry=QUICK)
    assert strict.objects["file.bin"].data == path.read_bytes()


@pytest.mark.parametrize("brief", [True, False])
def test_an_object_of_another_size_is_no_success(connect: Connect, make_file: MakeFile, brief: bool) -> None:
    """alexmojaki/s3-stream-upload#17 (10 MB were missing), rclone/rclone#7320 (0 bytes)."""
    strict, proxy, transport = connect(brief=brief, etags="opaque")
    path = make_file(LARGE)
    cut = Do(
        lambda: [
            setattr(piece, "data", piece.data[:-1])
            for each in strict.multiparts.values()
            for piece in each.parts.values()
        ]
    )
    proxy.plan("CompleteMultipartUpload", cut, times=1)
    with contextlib.suppress(TransferError):
        sent(an_upload(path, "bucket"), transport, retry=QUICK)
    assert "file.bin" not in strict.objects or strict.objects["file.bin"].data == path.read_bytes()


@pytest.mark.parametrize("what", ["removed", "truncated", "replaced"])
def test_a_file_that_goes_while_it_is_sent_leaves_no_part_of_it_as_an_object(
    connect: Connect, make_file: MakeFile, what: str
) -> None:
    """rclone/rclone#7449: an incomplete object."""
    strict, proxy, transport = connect()
    path = make_file(LARGE)

    def change() -> None:
        match what:
            case "removed":
                path.unlink()
            case "truncated":
                os.truncate(path, 100)
            case _:
                path.write_bytes(b"other")

    proxy.plan("UploadPart", Do(change), times=1)
    with contextlib.suppress(TransferError):
        sent(an_upload(path, "bucket"), transport, retry=QUICK)
    for stored in strict.objects.values():
        assert stored.data == path.read_bytes()
