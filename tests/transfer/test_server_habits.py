"""What S3 servers other than AWS do, one line a habit, and what becomes of a small and of a large file there."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from console.error_codes import Recovery
from console.errors import ConfigurationError
from console.models import Multipart
from console.s3 import credentials
from console.s3.checksums import Algorithm
from console.s3.client import ClientOptions
from console.s3.confirmation import ServerTraits
from console.s3.operations import delete_object, open_multiparts
from console.s3.transfer_errors import TransferError
from console.transfer import multipart
from console.transfer.comparison import verify_upload
from console.transfer.multipart import abort
from console.transfer.small_files import SmallFiles
from console.transfer.transport import open_transport
from tests.faults.proxy import Answer, EditAnswer

from .conftest import Connect
from .doubles import LARGE, MIB, QUICK, SMALL, Commands, MakeFile, Notes, an_upload, options, sent
from .strict_s3 import StrictS3

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

HABITS: list[tuple[str, dict[str, Any], str, str]] = [
    # what it does, its switches, what a small file is confirmed by, what a large one
    ("as AWS", {}, "checksum", "checksum"),
    ("MD5 in ETags only", {"brief": True}, "etag", "etag"),
    ("checksums of objects only", {"brief_parts": True}, "checksum", "etag"),
    ("composite checksums, without a word", {"checksum_types": "composite"}, "checksum", "checksum"),
    ("composite checksums, others refused", {"checksum_types": "composite_refuses"}, "checksum", "checksum"),
    ("weak ETags", {"brief": True, "etags": "weak"}, "etag", "etag"),
    ("opaque ETags", {"etags": "opaque"}, "checksum", "checksum"),
    ("neither checksums nor MD5s", {"brief": True, "etags": "opaque"}, "size", "size"),
    ("ETags that look like MD5s", {"brief": True, "etags": "like_md5"}, "content", "size"),
    ("such ETags beside checksums", {"etags": "like_md5"}, "checksum", "checksum"),
    ("no ETag of a completion", {"brief": True, "etag_of_completion": False}, "etag", "etag"),
    ("no ETag to HEAD", {"brief": True, "etag_of_head": False}, "etag", "etag"),
    ("no ETag of either", {"brief": True, "etag_of_completion": False, "etag_of_head": False}, "etag", "parts"),
    (
        "write-only, no ETag of a completion",
        {"brief": True, "etag_of_completion": False, "write_only": True},
        "etag",
        "parts",
    ),
    ("write-only, checksums of parts", {"write_only": True}, "checksum", "checksum"),
    ("one part at most", {"most_parts": 1}, "checksum", "checksum"),
    ("one part at most, said in the end", {"most_parts": 1, "refused_part_at": "completion"}, "checksum", "checksum"),
    ("no ListParts, no abort", {"lists_parts": False, "aborts": False}, "checksum", "checksum"),
    ("ListParts and abort denied", {"parts_denied": True}, "checksum", "checksum"),
    ("conditions refused", {"conditions": "refused"}, "checksum", "checksum"),
    ("errors without a message", {"messages": False}, "checksum", "checksum"),
]
each_habit = pytest.mark.parametrize(
    ("habits", "small", "large"), [row[1:] for row in HABITS], ids=[row[0] for row in HABITS]
)


@each_habit
def test_files_arrive_once_and_can_be_verified_and_deleted(
    connect: Connect, make_file: MakeFile, habits: dict[str, Any], small: str, large: str
) -> None:
    strict, _, transport = connect(**habits)
    for number in range(2):  # what is learned from the first of each size holds for the next
        for size, confirmed in ((SMALL, small), (LARGE, large)):
            path = make_file(size)
            upload = an_upload(path, "bucket", f"{size}-{number}")
            done = sent(upload, transport)
            assert strict.objects[done.key].data == path.read_bytes()
            # What was read once to know the server is not read each time.
            assert done.checksum.confirmed == ("size" if confirmed == "content" and number else confirmed)
            if number:
                assert done.sent_bytes == size
            if strict.habits.write_only:
                continue
            record = upload.model_copy(update={"etag": done.etag, "checksum": done.checksum})
            is_known = confirmed in ("checksum", "etag") and (strict.habits.etag_of_head or not strict.habits.brief)
            assert verify_upload(transport.s3, record, Commands()).same is (True if is_known else None)
            assert delete_object(transport.s3, "bucket", done.key, etag=done.etag, size=size, is_vouched_for=True)
            assert done.key not in strict.objects


# --- checksums


def test_bodies_that_nothing_vouches_for_are_sent_once_and_looked_at_once(connect: Connect, make_file) -> None:
    _, proxy, transport = connect(brief=True, etags="opaque")
    small = SmallFiles(transport, options())
    for number in range(5):
        upload = an_upload(make_file(SMALL), "bucket", str(number))
        assert small.takes(upload)
        done = small.send(upload, Notes(), Commands(), lambda cancel: None)
        assert done is not None
        assert (done.checksum.confirmed, done.sent_bytes) == ("size", SMALL)
    assert (proxy.count("PutObject"), proxy.count("HeadObject")) == (5, 5)


def test_many_small_bodies_are_looked_at_over_the_connections_that_sent_them(connect: Connect, make_file) -> None:
    """Through boto3 a look costs ten times the processor time of the request that sent the body."""
    _, _, transport = connect(brief=True, etags="opaque")
    transport.s3.close()
    small = SmallFiles(replace(transport, s3=cast("S3Client", None)), options())
    done = small.send(an_upload(make_file(SMALL), "bucket"), Notes(), Commands(), lambda cancel: None)
    assert done is not None
    assert done.checksum.confirmed == "size"


def test_a_small_body_that_arrived_as_another_is_deleted(connect: Connect, make_file) -> None:
    strict, _, transport = connect(brief=True, damaged_bodies=1)
    path = make_file(SMALL)
    done = SmallFiles(transport, options(retry=QUICK)).send(
        an_upload(path, "bucket"), Notes(), Commands(), lambda cancel: None
    )
    assert done is not None
    assert strict.objects["file.bin"].data == path.read_bytes()


def test_whoever_may_not_look_at_small_objects_is_told_what_is_missing(connect: Connect, make_file) -> None:
    _, proxy, transport = connect(brief=True, etags="opaque", write_only=True)
    small = SmallFiles(transport, options())
    with pytest.raises(TransferError, match="s3:GetObject"):
        small.send(an_upload(make_file(SMALL), "bucket"), Notes(), Commands(), lambda cancel: None)
    assert proxy.count("PutObject") == 1


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_object_whose_bytes_are_others_is_deleted_and_sent_again(connect: Connect, make_file, size: int) -> None:
    strict, proxy, transport = connect(brief=True, damaged_bodies=1)
    path = make_file(size)
    done = sent(an_upload(path, "bucket"), transport, retry=QUICK)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert done.checksum.confirmed == "etag"
    assert proxy.count("GetObject") == (1 if size == SMALL else 0)


def test_whoever_may_not_look_at_objects_is_told_what_is_missing(connect: Connect, make_file) -> None:
    _, proxy, transport = connect(brief=True, etags="opaque", write_only=True)
    with pytest.raises(TransferError, match="s3:GetObject") as caught:
        sent(an_upload(make_file(SMALL), "bucket"), transport)
    assert caught.value.recovery is Recovery.NEEDS_ACTION
    assert proxy.count("PutObject") == 1


# --- parts


def test_the_last_of_many_parts_is_sent_first_where_the_limit_is_not_known(
    connect: Connect, make_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a store that takes 1,000, the refusal would come after the other 1,000 were sent."""
    monkeypatch.setattr(multipart, "PARTS_EVERYWHERE", 3)
    strict, _, transport = connect(most_parts=3)
    transport.pool.slots.resize(1)
    path = make_file(31 * MIB)
    done = sent(an_upload(path, "bucket"), transport)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert strict.objects["file.bin"].part_sizes == [11 * MIB, 11 * MIB, 9 * MIB]
    assert done.sent_bytes <= (31 + 1 + 5) * MIB  # the last part in vain, and at most one that was under way beside it
    assert transport.server.most_parts == 3


@pytest.mark.parametrize("aborts", [True, False])
def test_without_list_parts_an_upload_starts_again(connect: Connect, make_file, aborts: bool) -> None:
    strict, proxy, transport = connect(lists_parts=False, aborts=aborts)
    path = make_file(LARGE)
    notes = Notes()
    proxy.plan("CompleteMultipartUpload", Answer(403, "AccessDenied"))
    with pytest.raises(TransferError, match="AccessDenied"):
        sent(an_upload(path, "bucket"), transport, notes)
    resumed = an_upload(path, "bucket", multipart=notes.opened[0])
    sent(resumed, transport, notes)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert proxy.count("CreateMultipartUpload") == 2
    assert len(strict.multiparts) == (0 if aborts else 1)


def test_who_may_not_list_parts_starts_again(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect(parts_denied=True)
    path = make_file(LARGE)
    notes = Notes()
    proxy.plan("CompleteMultipartUpload", Answer(403, "AccessDenied"))
    with pytest.raises(TransferError, match="AccessDenied"):
        sent(an_upload(path, "bucket"), transport, notes)
    proxy.plan("CreateMultipartUpload", Answer(403, "AccessDenied"))
    former = notes.opened[0]
    with pytest.raises(TransferError, match="AccessDenied"):
        sent(an_upload(path, "bucket", multipart=former), transport, notes)
    assert notes.closed == 0  # everything may be denied for a while: what arrived is kept
    sent(an_upload(path, "bucket", multipart=former), transport, notes)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert set(strict.multiparts) == {former.upload_id}  # nobody may abort it


def test_a_part_that_the_server_holds_for_a_dead_sender_delays_no_other_upload(connect: Connect, make_file) -> None:
    """rclone waits for the rest of a body behind a proxy that buffers, and nobody may write that part meanwhile."""
    strict, proxy, transport = connect(lists_parts=False)
    path = make_file(LARGE)
    held = transport.s3.create_multipart_upload(Bucket="bucket", Key="file.bin")["UploadId"]
    proxy.plan(
        "UploadPart", Answer(500, "InternalError"), times=99, when=lambda request: request.query["uploadId"] == held
    )
    sent(an_upload(path, "bucket", multipart=Multipart(upload_id=held, part_size=5 * MIB)), transport)
    assert strict.objects["file.bin"].data == path.read_bytes()


def test_without_abort_an_upload_that_is_given_up_ends_all_the_same(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect(aborts=False)
    notes = Notes()
    proxy.plan("CompleteMultipartUpload", Answer(400, "EntityTooSmall"))
    with pytest.raises(TransferError, match="EntityTooSmall"):
        sent(an_upload(make_file(LARGE), "bucket"), transport, notes)
    assert notes.closed == 1
    assert len(strict.multiparts) == 1
    assert abort(transport.s3, "bucket", "file.bin", notes.opened[0].upload_id) is False


# --- answers


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            413,
            b"<html><h1>413</h1><hr>nginx</html>",
            "413 Request Entity Too Large.*of this size",
        ),
        (403, b"<Error><Code>AccessDenied</Code></Error>", "403 Forbidden AccessDenied.*access denied"),
        (403, b"", "403 Forbidden.*access denied"),
        (
            400,
            b"<Error><Code>QuotaFull</Code><Message>QuotaFull</Message></Error>",
            "400 Bad Request QuotaFull.*failed",
        ),
        (418, b"", "418.*the upload failed"),
    ],
)
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_an_answer_without_a_reason_is_a_sentence_all_the_same(
    connect: Connect, make_file, status: int, body: bytes, words: str, size: int
) -> None:
    _, proxy, transport = connect()
    head = b"HTTP/1.1 %d No\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    proxy.plan("*", EditAnswer(lambda answer: head + body), times=9)
    with pytest.raises(TransferError) as caught:
        sent(an_upload(make_file(size), "bucket"), transport)
    assert re.search(words, caught.value.message)
    assert caught.value.recovery is Recovery.NEEDS_ACTION
    assert caught.value.advice


@pytest.mark.parametrize("markers", ["", "<NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>"])
def test_listings_that_do_not_page_end(connect: Connect, markers: str) -> None:
    _, proxy, transport = connect()
    upload = "<Upload><Key>a</Key><UploadId>1</UploadId><Initiated>2026-01-01T00:00:00Z</Initiated></Upload>"
    text = f"<R><IsTruncated>true</IsTruncated>{markers}{upload}</R>".encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(text)
    proxy.plan("*", EditAnswer(lambda answer: head + text), times=99)
    assert {found.key for found in open_multiparts(transport.s3, "bucket")} == {"a"}
    assert len(proxy.requests) == 2


# --- what was learned can be wrong


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_was_learned_is_tried_again_after_a_while() -> None:
    clock = Clock()
    traits = ServerTraits(is_aws=False, clock=clock)
    traits.learn(returns_checksums=False)
    assert traits.learn_from_refusal("NotImplemented", conditional=True, had_checksums=False)
    assert traits.learn_part_limit(1500, TransferError("InvalidArgument", "Part number must be at most 1000"))
    traits.learn_etags(are_md5=False)
    assert traits.algorithms() == (Algorithm.MD5,)
    assert (traits.takes_conditions, traits.most_parts, traits.etags_are_md5) == (False, 1000, False)
    clock.now = 601.0
    assert traits.algorithms() == (Algorithm.CRC32C, Algorithm.MD5)
    assert (traits.takes_conditions, traits.most_parts, traits.etags_are_md5) == (True, None, None)


def test_an_answer_without_the_checksum_unlearns_that_there_are_any() -> None:
    traits = ServerTraits(is_aws=False)
    traits.learn(returns_checksums=True)
    assert traits.algorithms() == (Algorithm.CRC32C,)
    traits.learn(returns_checksums=False)
    assert traits.algorithms() == (Algorithm.MD5,)


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_refusal_that_meant_something_else_teaches_nothing(connect: Connect, make_file, size: int) -> None:
    """Tags, say: left out were checksums and conditions, one after the other, and all in vain."""
    _, proxy, transport = connect()
    operation = "PutObject" if size == SMALL else "CreateMultipartUpload"
    proxy.plan(operation, Answer(501, "NotImplemented"), times=9)
    with pytest.raises(TransferError, match="NotImplemented"):
        sent(an_upload(make_file(size), "bucket"), transport, duplicates="fail")
    server = transport.server
    assert server.takes_conditions
    assert server.checksum_type == "FULL_OBJECT"
    assert server.returns_checksums is None
    assert server.returns_part_checksums is None
    proxy.heal()
    assert sent(an_upload(make_file(size), "bucket"), transport).checksum.confirmed == "checksum"


@pytest.mark.parametrize(
    ("code", "message", "number", "limit"),
    [
        ("InvalidArgument", "Part number must be an integer between 1 and 1000, inclusive", 1001, 1000),
        ("InvalidArgument", "Part number must be an integer between 1 and 1,000, inclusive", 9000, 1000),
        ("InvalidPartNumber", "", 5, 4),
        ("InvalidRequest", "too many parts", 4000, 1000),
        ("TooManyParts", "at most 64 parts", 65, 64),
        ("InvalidArgument", "the header is not known", 5, None),
        ("AccessDenied", "part", 5, None),
        ("InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive", 1, None),
    ],
)
def test_how_many_parts_a_refusal_tells(code: str, message: str, number: int, limit: int | None) -> None:
    traits = ServerTraits(is_aws=False)
    assert traits.learn_part_limit(number, TransferError(code, message)) is (limit is not None)
    assert traits.most_parts == limit
    assert not ServerTraits(is_aws=True).learn_part_limit(number, TransferError(code, message))


# --- credentials


def keys_file(path: Path, name: str) -> None:
    path.write_text(f"[default]\naws_access_key_id = {name}\naws_secret_access_key = secret\n")


def test_credentials_that_are_renewed_in_their_file_are_used(
    tmp_path: Path, make_file, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setattr(credentials, "LOOK_SECONDS", 0.0)
    keys_file(tmp_path / "credentials", "OLD")
    with StrictS3(access_keys=frozenset({"NEW"})) as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url))
        for size in (SMALL, LARGE):
            keys_file(tmp_path / "credentials", "OLD")
            with pytest.raises(TransferError, match="ExpiredToken"):
                sent(an_upload(make_file(size), "bucket"), transport)
            (tmp_path / "credentials").write_text("[default]\naws_access")  # being written
            with pytest.raises(TransferError, match="ExpiredToken"):
                sent(an_upload(make_file(size), "bucket"), transport)
            keys_file(tmp_path / "credentials", "NEW2")
            keys_file(tmp_path / "credentials", "NEW")
            sent(an_upload(make_file(size), "bucket"), transport)
        transport.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"aws_access_key_id=AKID\n", "line 1"),
        (b"\xef\xbb\xbf[default]\naws_access_key_id = AKID\n", "line 1"),
        (b"[default]\naws_access_key_id = A\naws_access_key_id = B\n", "line 3"),
        (b"[default]\naws_access_key_id = \xff\n", "UTF-8"),
        (b"[default]\naws_access_key_id = A\n", "aws_secret_access_key"),
    ],
    ids=["no section", "a byte order mark", "a key twice", "no UTF-8", "half a key"],
)
def test_a_file_of_credentials_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, words: str
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    (tmp_path / "credentials").write_bytes(content)
    with pytest.raises(ConfigurationError, match=words):
        open_transport(ClientOptions(endpoint_url="http://127.0.0.1:9")).close()


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", "/no/such/bundle.pem")
    with pytest.raises(ConfigurationError, match=r"there is no /no/such/bundle\.pem"):
        open_transport(ClientOptions(endpoint_url="https://127.0.0.1:9"))
    open_transport(ClientOptions(endpoint_url="http://127.0.0.1:9")).close()


def test_a_profile_of_the_environment_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nope")
    with pytest.raises(ConfigurationError, match="AWS_PROFILE: there is no AWS profile 'nope'"):
        open_transport(ClientOptions(endpoint_url="http://127.0.0.1:9"))
