"""What users of other uploaders reported of S3 servers, tried on this one. `docs/servers.md` has the list."""

from __future__ import annotations

import pytest

from console.s3.client import ClientOptions
from console.s3.transfer_errors import TransferError
from console.transfer.transport import open_transport
from tests.faults.proxy import Answer, EditAnswer

from .conftest import Connect, on_each_store
from .doubles import LARGE, MIB, SMALL, MakeFile, an_upload, sent
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
