"""What the Common Runtime is used for, and how it comes to the same server, and trusts the same, as boto3."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from awscrt.exceptions import AwsCrtError
from awscrt.s3 import S3Client

from console.s3.address import Address
from console.s3.client import ClientOptions
from console.s3.engines import crt_engine
from console.s3.engines.boto3_engine import Boto3Engine
from console.s3.engines.crt_engine import CrtEngine, check_certificate
from console.s3.engines.engine import ObjectSettings, PutRequest
from console.s3.transfer_errors import TransferError
from console.transfer.transport import open_transport
from tests.faults.proxy import Answer

from .conftest import Connect
from .doubles import SMALL, Notes, an_upload, sent
from .strict_s3 import AUTHORITY, StrictS3

only_crt = pytest.mark.parametrize("engine", ["crt"])
SOME_PROXY = "http://127.0.0.1:9"


# --- proxies


def engine_for(url: str) -> type:
    transport = open_transport(ClientOptions(endpoint_url=url))
    transport.close()
    return type(transport.engine)


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("http://127.0.0.1:8", {"HTTP_PROXY": SOME_PROXY}),
        ("http://127.0.0.1:8", {"http_proxy": SOME_PROXY, "NO_PROXY": "127.0.0.1"}),
        ("http://127.0.0.1:8", {"http_proxy": SOME_PROXY, "no_proxy": "127.0.0.1:8"}),
        (
            "http://127.0.0.1:8",
            {"HTTP_PROXY": SOME_PROXY, "http_proxy": ""},
        ),  # the runtime takes the larger letters then
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
    assert engine_for(url) is Boto3Engine
    assert f"a proxy is set for {url.partition(':')[0]}, and" in caplog.text


@pytest.mark.parametrize(
    ("url", "variables"),
    [
        ("http://127.0.0.1:8", {"NO_PROXY": "example.com", "no_proxy": "example.com"}),
        ("http://127.0.0.1:8", {"HTTPS_PROXY": SOME_PROXY}),
        ("https://127.0.0.1:8", {"http_proxy": SOME_PROXY}),
        ("http://127.0.0.1:8", {"ALL_PROXY": SOME_PROXY}),  # neither of the two reads that
    ],
    ids=str,
)
def test_a_proxy_for_others_keeps_nobody_from_the_runtime(
    monkeypatch: pytest.MonkeyPatch, url: str, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert engine_for(url) is CrtEngine


# --- certificates


@pytest.mark.parametrize("engine", ["crt", "boto3"])
@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_the_environment_names_are_trusted(
    monkeypatch: pytest.MonkeyPatch, make_file: Any, engine: Any, variable: str
) -> None:
    monkeypatch.setenv(variable, str(AUTHORITY))
    path = make_file(SMALL)
    with StrictS3(tls=True) as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url), engine=engine)
        sent(an_upload(path, "bucket"), transport)
        transport.close()
    assert strict.objects["file.bin"].data == path.read_bytes()


def test_what_a_later_python_asks_of_certificates_is_not_asked_here(monkeypatch: pytest.MonkeyPatch) -> None:
    default = ssl.create_default_context

    def as_in_python_3_13(**options: Any) -> ssl.SSLContext:
        context = default(**options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", as_in_python_3_13)
    with StrictS3(tls=True) as strict:
        address = Address(strict.url.removeprefix("https://"), "/", is_tls=True)
        check_certificate(address, str(AUTHORITY), 60)
        with pytest.raises(TransferError, match="CertificateRefused"):
            check_certificate(address, None, 60)


# --- buckets elsewhere


@only_crt
@pytest.mark.parametrize(
    "refusal",
    [
        Answer(307, "TemporaryRedirect"),
        Answer(301, "PermanentRedirect"),
        Answer(400, "IllegalLocationConstraintException"),
        Answer(400, "AuthorizationHeaderMalformed"),
    ],
    ids=lambda refusal: refusal.code,
)
def test_boto3_follows_to_another_region(connect: Connect, make_file: Any, refusal: Answer) -> None:
    strict, proxy, transport = connect()
    path = make_file(SMALL)
    proxy.plan("PutObject", refusal)
    notes = Notes()
    sent(an_upload(path, "bucket"), transport, notes)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert notes.codes == []
    assert not transport.engine.takes_at_once("bucket")  # type: ignore[attr-defined]


# --- servers that take long


class GivenUp:
    """A request for which the runtime has waited in vain."""

    def __init__(self, on_done: Callable[..., None] | None = None) -> None:
        error = AwsCrtError(2075, "AWS_ERROR_HTTP_CHANNEL_THROUGHPUT_FAILURE", "a fault of the test's own")
        self.finished_future: Future[None] = Future()
        self.finished_future.set_exception(error)
        if on_done is not None:
            on_done(error=error)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the runtime began. It gives up on the first."""
    begin = S3Client.make_request
    requests: list[object] = []

    def make_request(client: S3Client, *, on_done: Callable[..., None] | None = None, **options: Any) -> object:
        given_up = not requests
        requests.append(options["operation_name"])
        return GivenUp(on_done) if given_up else begin(client, on_done=on_done, **options)

    monkeypatch.setattr(S3Client, "make_request", make_request)
    return requests


@pytest.mark.parametrize(("read_timeout", "by_the_runtime"), [(60.0, 1), (20.0, 3)])
def test_boto3_waits_for_a_server_that_is_slower_than_the_runtime_waits(
    begun: list[object], make_file: Any, read_timeout: float, by_the_runtime: int
) -> None:
    path = make_file(SMALL)
    notes = Notes()
    with StrictS3() as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url, read_timeout_seconds=read_timeout))
        for key in ("first", "second"):
            sent(an_upload(path, "bucket", key), transport, notes)
        transport.close()
    assert {key: stored.data for key, stored in strict.objects.items()} == dict.fromkeys(
        ("first", "second"), path.read_bytes()
    )
    assert notes.codes == ["ReadTimeout"]
    assert len(begun) == by_the_runtime


def test_small_files_go_by_boto3_too_for_a_while(begun: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[object] = []
    request = PutRequest("bucket", "small", "text/plain", ObjectSettings())
    with StrictS3() as strict:
        transport = open_transport(ClientOptions(endpoint_url=strict.url, read_timeout_seconds=60))
        engine = transport.engine
        assert isinstance(engine, CrtEngine)
        engine.begin_put(request, b"x", {}, answers.append)
        assert [str(answer).partition(":")[0] for answer in answers] == ["ReadTimeout"]
        assert not engine.takes_at_once("bucket")
        monkeypatch.setattr(crt_engine, "_DETOUR_SECONDS", 0.0)
        begun.clear()
        engine.begin_put(request, b"x", {}, answers.append)
        assert engine.takes_at_once("bucket")
        transport.close()
