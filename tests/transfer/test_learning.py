"""What servers refuse, and what uploads that are under way at that time make of it."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from console.s3.confirmation import ServerTraits
from console.s3.transfer_errors import TransferError
from console.transfer.job import Confirmation
from console.transfer.transport import Transport
from tests.faults.proxy import Answer, FaultProxy, Request

from .conftest import Connect
from .doubles import LARGE, SMALL, Notes, an_upload, sent


def has_condition(request: Request) -> bool:
    return "if-none-match" in request.headers


def has_checksums(request: Request) -> bool:
    return any(name.startswith("x-amz-checksum-") and name != "x-amz-checksum-mode" for name in request.headers)


def test_a_server_that_refuses_conditions(connect: Connect, make_file) -> None:
    strict, proxy, transport = connect()
    proxy.plan("PutObject", Answer(501, "NotImplemented"), times=9, when=has_condition)
    sent(an_upload(make_file(SMALL), "bucket"), transport, duplicates="fail")
    assert list(strict.objects) == ["file.bin"]
    assert proxy.count("PutObject") == 2


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_a_server_that_refuses_checksums(connect: Connect, make_file, size: int) -> None:
    _, proxy, transport = connect()
    proxy.plan("*", Answer(501, "NotImplemented"), times=99, when=has_checksums)
    done = sent(an_upload(make_file(size), "bucket"), transport)
    assert done.checksum.confirmed == "etag"


@dataclasses.dataclass(frozen=True)
class Together(Answer):
    """Goes out once enough requests have met it: what one of them teaches, the others could not know."""

    met: threading.Barrier = dataclasses.field(kw_only=True)

    def bytes(self, method: str) -> bytes:
        self.met.wait(60)
        return super().bytes(method)


def refuse(proxy: FaultProxy, operation: str, refusal: Answer, carries: Callable[[Request], bool]) -> None:
    """Refuse such requests; the first three not before all of them are there."""
    together = Together(refusal.status, refusal.code, met=threading.Barrier(3))
    proxy.plan(operation, together, times=3, when=carries)
    proxy.plan(operation, refusal, times=99, when=carries)


def three_sent(transport: Transport, path: Path, policy: str) -> list[Confirmation]:
    """Side by side."""
    uploads = [an_upload(path, "bucket", f"{number}.bin") for number in range(3)]
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda upload: sent(upload, transport, duplicates=policy), uploads))


@pytest.mark.parametrize(("size", "operation"), [(SMALL, "PutObject"), (LARGE, "CompleteMultipartUpload")])
def test_all_that_are_under_way_bear_that_conditions_are_refused(
    connect: Connect, make_file, size: int, operation: str
) -> None:
    strict, proxy, transport = connect()
    refuse(proxy, operation, Answer(501, "NotImplemented"), has_condition)
    done = three_sent(transport, make_file(size), "fail")
    assert sorted(strict.objects) == [one.key for one in done] == ["0.bin", "1.bin", "2.bin"]
    assert proxy.count(operation) == 3 + 3
    assert transport.server.returns_checksums is True
    assert {one.checksum.confirmed for one in done} == {"checksum"}


@pytest.mark.parametrize(
    ("size", "operation"), [(SMALL, "PutObject"), (LARGE, "CreateMultipartUpload"), (LARGE, "UploadPart")]
)
@pytest.mark.parametrize(
    ("refusal", "policy"),
    [(Answer(501, "NotImplemented"), "overwrite"), (Answer(400, "InvalidArgument"), "fail")],
    ids=["NotImplemented", "InvalidArgument"],
)
def test_all_that_are_under_way_bear_that_checksums_are_refused(
    connect: Connect, make_file, size: int, operation: str, refusal: Answer, policy: str
) -> None:
    strict, proxy, transport = connect()
    refuse(proxy, operation, refusal, has_checksums)
    done = three_sent(transport, make_file(size), policy)
    assert sorted(strict.objects) == [one.key for one in done] == ["0.bin", "1.bin", "2.bin"]
    assert transport.server.returns_checksums is False
    assert transport.server.takes_conditions


def test_a_resumed_upload_keeps_its_parts_where_checksums_are_refused(connect: Connect, make_file) -> None:
    """The refusal is not the one of a server that cannot replace a part."""
    strict, proxy, transport = connect(brief=True)
    path = make_file(LARGE)
    notes = Notes()
    proxy.plan("UploadPart", Answer(403, "ExpiredToken"), when=lambda request: request.query["partNumber"] == "2")
    transport.pool.slots.resize(1)  # the first part has arrived when the second is refused
    upload = an_upload(path, "bucket")
    with pytest.raises(TransferError, match="ExpiredToken"):
        sent(upload, transport, notes)
    another_run = dataclasses.replace(transport, server=ServerTraits(is_aws=False))
    proxy.plan("UploadPart", Answer(501, "NotImplemented"), times=99, when=has_checksums)
    sent(upload.model_copy(update={"multipart": notes.opened[0]}), another_run, notes)
    assert strict.objects["file.bin"].data == path.read_bytes()
    assert proxy.count("CreateMultipartUpload") == 1
