"""A server that answers as none should: it costs no memory, no stack and no traceback, and nothing follows its lead."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import pytest

from console.s3.client import ClientOptions, make_client
from console.s3.object_listing import ObjectListing
from console.s3.operations import open_multiparts
from console.s3.retry import call
from console.s3.transfer_errors import TransferError

Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def answering(reply: Reply) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.close_connection = True
            with suppress(OSError):  # whoever asked has seen enough
                reply(self)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def _head(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


@pytest.mark.parametrize("status", [200, 403])
def test_an_answer_without_end_is_not_kept(status: int) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, status)
        while True:
            handler.wfile.write(b"<Name>aaaaaaaaaaaaaaaa</Name>" * 4096)

    with answering(reply) as url:
        s3 = make_client(ClientOptions(endpoint_url=url))
        with pytest.raises(TransferError, match="longer than 16 MiB") as caught:
            call(lambda: s3.list_parts(Bucket="b", Key="k", UploadId="u"))
        s3.close()
    assert caught.value.code == "UnreadableAnswer"


_BOMB = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    "body",
    [
        "<a>" * 200_000 + "</a>" * 200_000,
        f'<!DOCTYPE x [<!ENTITY e0 "{"lol" * 1000}">{_BOMB}]><Error><Code>X</Code><Message>&e11;</Message></Error>',
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><Error><Code>X</Code><Message>&f;</Message></Error>',
    ],
    ids=["nested", "bomb", "file"],
)
def test_xml_takes_no_stack_and_no_memory_and_reads_no_file(body: str) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 400)
        handler.wfile.write(body.encode())

    with answering(reply) as url:
        s3 = make_client(ClientOptions(endpoint_url=url))
        with pytest.raises(TransferError) as caught:
            call(lambda: s3.list_parts(Bucket="b", Key="k", UploadId="u"))
        s3.close()
    assert len(caught.value.message) < 500
    assert "root:" not in caught.value.message


@pytest.mark.parametrize("region", ["eu-central-1", "@attacker.example/#", "attacker.example/"])
def test_no_request_goes_where_a_redirect_leads(region: str) -> None:
    elsewhere: list[str] = []
    asked: list[str] = []

    with answering(lambda handler: elsewhere.append(handler.path)) as other:

        def reply(handler: BaseHTTPRequestHandler) -> None:
            asked.append(handler.path)
            _head(handler, 307, Location=f"{other}{handler.path}", x_amz_bucket_region=region)

        with answering(reply) as url:
            s3 = make_client(ClientOptions(endpoint_url=url))
            with pytest.raises(TransferError):
                call(lambda: s3.list_parts(Bucket="b", Key="k", UploadId="u"))
            s3.close()
    assert elsewhere == []
    assert 1 <= len(asked) <= 3


class _InCircles:
    """Lists two pages in turn, for ever."""

    def __init__(self) -> None:
        self.asked = 0

    def list_objects_v2(self, **_: str) -> dict[str, Any]:
        self.asked += 1
        contents = [{"Key": f"k{self.asked}", "Size": 1}]
        return {"IsTruncated": True, "NextContinuationToken": f"t{self.asked % 2}", "Contents": contents}

    def list_multipart_uploads(self, **_: str) -> dict[str, Any]:
        self.asked += 1
        uploads = [{"Key": "k", "UploadId": f"u{self.asked}", "Initiated": datetime.now(UTC)}]
        place = {"NextKeyMarker": f"t{self.asked % 2}", "NextUploadIdMarker": "u"}
        return {"IsTruncated": True, **place, "Uploads": uploads}


def test_lists_that_lead_in_circles_end() -> None:
    objects, multiparts = _InCircles(), _InCircles()
    assert len(list(islice(ObjectListing(objects, "b").below("k"), 10))) == objects.asked == 3  # type: ignore[arg-type]
    assert len(list(islice(open_multiparts(multiparts, "b"), 10))) == multiparts.asked == 3  # type: ignore[arg-type]
