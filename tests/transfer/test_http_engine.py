"""Small objects over connections of our own: signed, trusted and addressed as by boto3, and left to it in doubt."""

from __future__ import annotations

import base64
import hashlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from console.error_codes import Recovery
from console.models import Upload
from console.s3.address import Address
from console.s3.checksums import Algorithm, digest_bytes
from console.s3.client import ClientOptions
from console.s3.engines.boto3_engine import answer_of
from console.s3.engines.engine import ObjectSettings, PutRequest
from console.s3.engines.engine import StoredBody as Stored
from console.s3.engines.http_engine import HttpEngine
from console.s3.engines.signature import Signer
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.job import Confirmation
from console.transfer.small_files import SmallFiles
from console.transfer.transport import Transport, open_transport
from tests.faults import proxy as faults

from .conftest import Connect
from .doubles import LARGE, SMALL, Commands, MakeFile, Notes, an_upload, options, sent
from .strict_s3 import AUTHORITY, StrictS3

SOME_PROXY = "http://127.0.0.1:9"


def sent_small(upload: Upload, transport: Transport, notes: Notes | None = None, **values: Any) -> Confirmation | None:
    small = SmallFiles(transport, options(**values))
    assert small.takes(upload)
    return small.send(upload, notes or Notes(), Commands(), lambda _: None)


# --- signatures


@pytest.mark.parametrize("token", [None, "a/token+with=signs"])
@pytest.mark.parametrize("path", ["/bucket/plain", "/bucket/a%20%C3%BC/b~c", "/bucket//twice/../x"])
def test_a_signature_is_that_of_botocore(path: str, token: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token)
    headers = {"content-type": "text/plain", "x-amz-checksum-crc32c": "AAAAAA==", "x-amz-meta-a": "two  spaces"}
    ours = Signer(credentials, "eu-west-1").sign("PUT", path, {"host": "s3.example.com:9000", **headers})

    request = AWSRequest("PUT", f"https://s3.example.com:9000{path}", headers=headers)
    request.context = {"client_config": Config(s3={"payload_signing_enabled": False})}
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: _moment(ours["x-amz-date"]))
    S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]
    assert ours["x-amz-content-sha256"] == request.headers["X-Amz-Content-SHA256"]


def _moment(text: str) -> Any:
    from datetime import UTC, datetime

    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def test_a_key_is_made_again_where_the_credentials_are_others() -> None:
    now = 1_700_000_000.0
    first = Signer(Credentials("A", "first"), "us-east-1", clock=lambda: now)
    second = Signer(Credentials("A", "second"), "us-east-1", clock=lambda: now)
    signatures = {signer.sign("PUT", "/b/k", {"host": "h"})["authorization"] for signer in (first, second)}
    assert len(signatures) == 2
    assert first.sign("PUT", "/b/k", {"host": "h"})["authorization"] in signatures


# --- what arrives


def test_an_object_is_confirmed_by_its_checksum_and_kept_as_it_was_asked(connect: Connect, make_file: MakeFile) -> None:
    strict, _, transport = connect()
    path = make_file(SMALL, "ä b.txt")
    settings = ObjectSettings(storage_class="STANDARD_IA", metadata={"Made-By": "us"}, tags={"a": "1", "b": "2 3"})
    confirmation = sent_small(an_upload(path, "bucket", "x/ä b.txt"), transport, settings=settings)
    assert confirmation is not None
    assert confirmation.checksum.confirmed == "checksum"
    stored = strict.objects["x/ä b.txt"]
    assert stored.data == path.read_bytes()
    headers = {name.lower(): value for name, value in stored.headers.items()}
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-tagging"] == "a=1&b=2+3"
    assert headers["x-amz-meta-made-by"] == "us"


def test_what_every_request_says_small_objects_say_too(make_file: MakeFile) -> None:
    with StrictS3() as strict:
        transport = open_transport(
            ClientOptions(
                endpoint_url=strict.url,
                sse_customer_key=bytes(range(32)),
                requester_pays=True,
                expected_bucket_owner="123456789012",
            )
        )
        settings = ObjectSettings(
            object_lock_mode="COMPLIANCE", object_lock_days=1, acl="private", kms_context={"a": "b"}
        )
        assert sent_small(an_upload(make_file(SMALL), "bucket"), transport, settings=settings) is not None
        transport.close()
        headers = {name.lower(): value for name, value in strict.objects["file.bin"].headers.items()}
    prefix = "x-amz-server-side-encryption-customer-"
    assert headers[f"{prefix}algorithm"] == "AES256"
    assert headers[f"{prefix}key"] == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert base64.b64decode(headers[f"{prefix}key-md5"]) == hashlib.md5(bytes(range(32))).digest()
    assert headers["x-amz-request-payer"] == "requester"
    assert headers["x-amz-expected-bucket-owner"] == "123456789012"
    assert headers["x-amz-object-lock-mode"] == "COMPLIANCE"
    assert headers["x-amz-object-lock-retain-until-date"].endswith("Z")
    assert headers["x-amz-acl"] == "private"
    assert headers["x-amz-server-side-encryption-context"] == "eyJhIjogImIifQ=="


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_server_that_passes_over_the_key_keeps_nothing_in_the_clear(make_file: MakeFile, size: int) -> None:
    with StrictS3(customer_keys=False) as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url, sse_customer_key=bytes(range(32))))
        upload = an_upload(make_file(size), "bucket")
        if size == SMALL:
            assert sent_small(upload, transport) is None  # `send` has to do it
        with pytest.raises(TransferError, match="did not encrypt it") as caught:
            sent(upload, transport)
        transport.close()
        assert (caught.value.code, caught.value.recovery) == ("NotEncrypted", Recovery.PERMANENT)
        assert not strict.objects
        assert not strict.multiparts


def test_an_etag_is_no_md5_where_a_key_of_our_own_encrypts() -> None:
    told = {"etag": '"0cc175b9c0f1b6a831c399e269772661"', "checksums": {}, "version_id": None, "encryption": None}
    assert answer_of(**told).etag_is_md5
    assert not answer_of(**told, by_customer_key=True).etag_is_md5


def test_an_empty_file_is_an_object_too(connect: Connect, make_file: MakeFile) -> None:
    strict, _, transport = connect()
    assert sent_small(an_upload(make_file(0), "bucket"), transport) is not None
    assert strict.objects["file.bin"].data == b""


def test_where_only_the_md5_is_returned_that_confirms(make_file: MakeFile) -> None:
    with StrictS3(brief=True) as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url))
        confirmation = sent_small(an_upload(make_file(SMALL), "bucket"), transport)
        transport.close()
    assert confirmation is not None
    assert confirmation.checksum.confirmed == "etag"


def test_where_nothing_is_returned_nothing_is_called_confirmed(make_file: MakeFile) -> None:
    with StrictS3(brief=True, etags="opaque") as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url))
        notes = Notes()
        confirmation = sent_small(an_upload(make_file(SMALL), "bucket"), transport, notes)
        transport.close()
    assert confirmation is not None
    assert (confirmation.checksum.confirmed, confirmation.checksum.is_confirmed) == ("size", False)
    assert notes.net_sent == SMALL


@pytest.mark.parametrize(
    "fault",
    [
        faults.Answer(503, "SlowDown"),
        faults.Answer(500, "InternalError", forwarded=True),
        faults.Reset(),
        faults.CutBody(100),
        faults.DropAnswer(),
        faults.CutAnswer(40),
        faults.CorruptBody(5),
        faults.EditAnswer(lambda answer: b"garbage\r\n\r\n" + answer),
        faults.EditAnswer(lambda answer: answer.replace(b"HTTP/1.1", b"HTTP/9.9")),
        faults.EditAnswer(lambda answer: answer.replace(b"ETag", b"Etaj").replace(b"etag", b"etaj")),
        faults.EditAnswer(lambda answer: answer.replace(b"x-amz-checksum-crc32c: ", b"x-amz-checksum-crc32c: AA")),
    ],
    ids=[
        *("slow down", "error of a request that was carried out", "reset", "cut body", "no answer"),
        *("cut answer", "other bytes", "garbage", "another protocol", "no ETag", "another checksum"),
    ],
)
def test_what_did_not_simply_succeed_is_handed_back(connect: Connect, make_file: MakeFile, fault: Any) -> None:
    _, proxy, transport = connect()
    notes = Notes()
    proxy.plan("PutObject", fault)
    assert sent_small(an_upload(make_file(SMALL), "bucket"), transport, notes) is None
    assert notes.net_sent == 0
    assert proxy.count("PutObject") == 1


@pytest.mark.parametrize("early", [True, False])
def test_what_trying_again_does_not_mend_is_asked_once(connect: Connect, make_file: MakeFile, early: bool) -> None:
    _, proxy, transport = connect()
    proxy.plan("PutObject", faults.Answer(403, "AccessDenied", "no right to it", early=early), times=9)
    notes = Notes()
    with pytest.raises(TransferError) as caught:
        sent_small(an_upload(make_file(SMALL), "bucket"), transport, notes)
    assert caught.value.code == "AccessDenied"
    assert notes.net_sent == 0
    assert proxy.count("PutObject") == 1


def test_what_passes_is_noted(connect: Connect, make_file: MakeFile) -> None:
    _, proxy, transport = connect()
    proxy.plan("PutObject", faults.Answer(503, "SlowDown"))
    notes = Notes()
    assert sent_small(an_upload(make_file(SMALL), "bucket"), transport, notes) is None
    assert notes.codes == ["SlowDown"]


def test_a_refusal_for_too_much_leaves_fewer_at_once(connect: Connect, make_file: MakeFile) -> None:
    _, proxy, transport = connect()
    before = transport.small.limit
    proxy.plan("PutObject", faults.Answer(503, "SlowDown"))
    sent_small(an_upload(make_file(SMALL), "bucket"), transport)
    assert transport.small.limit == before // 2


def test_a_bucket_elsewhere_is_left_to_boto3(connect: Connect, make_file: MakeFile) -> None:
    _, proxy, transport = connect()
    upload = an_upload(make_file(SMALL), "bucket")
    small = SmallFiles(transport, options())
    proxy.plan("PutObject", faults.Answer(301, "PermanentRedirect"))
    assert small.send(upload, Notes(), Commands(), lambda _: None) is None
    assert not small.takes(upload)


def test_a_file_that_is_another_by_now_is_handed_back(connect: Connect, make_file: MakeFile) -> None:
    _, proxy, transport = connect()
    path = make_file(SMALL)
    upload = an_upload(path, "bucket")
    path.write_bytes(b"other")
    assert sent_small(upload, transport) is None
    assert proxy.count("PutObject") == 0


def test_nothing_is_sent_once_it_shall_stop(connect: Connect, make_file: MakeFile) -> None:
    _, proxy, transport = connect()
    commands = Commands()
    commands.stop()
    with pytest.raises(Stopped):
        SmallFiles(transport, options()).send(an_upload(make_file(SMALL), "bucket"), Notes(), commands, lambda _: None)
    assert proxy.count("PutObject") == 0


def test_a_request_that_hangs_is_broken_off(connect: Connect, make_file: MakeFile) -> None:
    _, proxy, transport = connect()
    hold = faults.Hold()
    proxy.plan("PutObject", hold)
    cancels: list[Callable[[], None]] = []
    results: list[Confirmation | None] = []
    upload = an_upload(make_file(SMALL), "bucket")

    def send() -> None:
        results.append(SmallFiles(transport, options()).send(upload, Notes(), Commands(), cancels.append))

    thread = threading.Thread(target=send)
    thread.start()
    assert hold.reached.wait(60)
    cancels[-1]()
    thread.join(60)
    assert results == [None]


# --- connections


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[Address, list[int]]]:
    """A server that gives these answers, each to one request; after an empty one it closes the connection. The list
    tells how many requests came over each connection."""
    left = list(answers)
    counts: list[int] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while left:
            connection, _ = listener.accept()
            counts.append(0)
            with connection, connection.makefile("rb") as requests:
                while left and requests.readline():
                    while requests.readline() not in (b"\r\n", b""):
                        pass
                    requests.read(1)
                    counts[-1] += 1
                    answer = left.pop(0)
                    connection.sendall(answer)
                    if not left or not left[0]:
                        left[:1] = []
                        break

    thread = threading.Thread(target=serve, daemon=True)  # it would hold up a test that fails
    thread.start()
    with listener:
        yield Address(f"127.0.0.1:{listener.getsockname()[1]}", "/b/", is_tls=False), counts
        thread.join(60)


OK = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'


def put(engine: HttpEngine, on_the_way: Callable[[Callable[[], None]], None] = lambda _: None) -> Stored:
    request = PutRequest("b", "k", "text/plain", ObjectSettings())
    return engine.put(request, b"x", {Algorithm.CRC32: digest_bytes(Algorithm.CRC32, b"x")}, on_the_way)


def an_engine(address: Address, seconds: float = 60.0) -> HttpEngine:
    signer = Signer(Credentials("a", "b"), "us-east-1")
    return HttpEngine(
        lambda _: address, signer, ca_file=None, connect_timeout_seconds=seconds, read_timeout_seconds=seconds
    )


def test_a_connection_is_used_again() -> None:
    with answering(OK, b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK) as (address, counts):
        engine = an_engine(address)
        assert [put(engine).etag for _ in range(3)] == ["1", "1", "1"]
        engine.close()
    assert counts == [3]


def test_to_stop_what_has_ended_leaves_the_next_request_on_its_connection_alone() -> None:
    with answering(OK, OK) as (address, counts):
        engine = an_engine(address)
        stops: list[Callable[[], None]] = []
        put(engine, stops.append)
        # The second request is under way, on the connection of the first, when the first upload is stopped.
        assert put(engine, lambda _: stops[0]()).etag == "1"
        engine.close()
    assert counts == [2]


def test_one_that_was_closed_while_nobody_used_it_is_made_again() -> None:
    with answering(OK, b"", OK) as (address, counts):
        engine = an_engine(address)
        assert put(engine).etag == put(engine).etag == "1"
        engine.close()
    assert counts == [1, 1]


@pytest.mark.parametrize(
    "answer",
    [
        OK.replace(b"Content-Length: 0", b"Connection: close"),
        OK.replace(b"HTTP/1.1", b"HTTP/1.0"),
        OK.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n",
        OK.replace(b"Content-Length: 0\r\n", b""),
    ],
)
def test_one_whose_end_is_not_known_is_not_used_again(answer: bytes) -> None:
    with answering(answer, b"", OK) as (address, counts):
        engine = an_engine(address)
        assert put(engine).etag == put(engine).etag == "1"
        engine.close()
    assert counts == [1, 1]


def test_a_server_that_says_nothing_is_not_waited_for_longer_than_is_set() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(f"127.0.0.1:{listener.getsockname()[1]}", "/b/", is_tls=False)
        with pytest.raises(TransferError) as caught:
            put(an_engine(address, 0.1))
    assert caught.value.code == "ReadTimeout"


@pytest.mark.parametrize("value", ["über", "two\r\nlines"])
def test_headers_that_are_none_are_refused(value: str) -> None:
    engine = an_engine(Address("127.0.0.1:9", "/b/", is_tls=False))
    request = PutRequest("b", "k", "text/plain", ObjectSettings(metadata={"name": value}))
    with pytest.raises(TransferError) as caught:
        engine.put(request, b"x", {}, lambda _: None)
    assert caught.value.code == "ParameterRefused"


# --- proxies and certificates


def has_engine(url: str) -> bool:
    transport = open_transport(ClientOptions(endpoint_url=url))
    transport.close()
    return transport.http is not None


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("http://127.0.0.1:8", {"HTTP_PROXY": SOME_PROXY}),
        ("http://127.0.0.1:8", {"http_proxy": SOME_PROXY, "NO_PROXY": "127.0.0.1"}),
        ("http://127.0.0.1:8", {"http_proxy": SOME_PROXY, "no_proxy": "127.0.0.1:8"}),
        ("http://127.0.0.1:8", {"HTTP_PROXY": SOME_PROXY, "http_proxy": ""}),
        ("https://127.0.0.1:8", {"HTTPS_PROXY": SOME_PROXY, "NO_PROXY": "*"}),
    ],
    ids=str,
)
def test_where_a_proxy_is_set_boto3_decides_who_goes_through_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    caplog.set_level(logging.INFO)
    assert not has_engine(url)
    assert f"a proxy is set for {url.partition(':')[0]}, and" in caplog.text


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("http://127.0.0.1:8", {"NO_PROXY": "example.com", "no_proxy": "example.com"}),
        ("http://127.0.0.1:8", {"HTTPS_PROXY": SOME_PROXY}),
        ("https://127.0.0.1:8", {"http_proxy": SOME_PROXY}),
        ("http://127.0.0.1:8", {"ALL_PROXY": SOME_PROXY}),  # boto3 does not read that
    ],
    ids=str,
)
def test_a_proxy_for_others_keeps_nobody_from_going_directly(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert has_engine(url)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", None])
def test_certificates_that_are_named_are_trusted(
    monkeypatch: pytest.MonkeyPatch, make_file: MakeFile, variable: str | None
) -> None:
    if variable is not None:
        monkeypatch.setenv(variable, str(AUTHORITY))
    path = make_file(SMALL)
    with StrictS3(tls=True) as strict:
        ours = None if variable is not None else AUTHORITY
        transport = open_transport(ClientOptions(endpoint_url=strict.url, ca_bundle=ours))
        confirmation = sent_small(an_upload(path, "bucket"), transport)
        transport.close()
    assert confirmation is not None
    assert strict.objects["file.bin"].data == path.read_bytes()


def test_a_certificate_of_somebody_else_gets_nothing(make_file: MakeFile) -> None:
    with StrictS3(tls=True) as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url))
        assert sent_small(an_upload(make_file(SMALL), "bucket"), transport) is None
        transport.close()
    assert strict.objects == {}
    assert strict.requests == []
