"""Files as they are found, recognised and read, and as they change under a transfer."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from console.error_codes import Recovery
from console.s3.checksums import Algorithm, digest_bytes
from console.s3.control import Unattended
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.body import Body
from console.s3.engines.engine import StoredBody
from console.s3.engines.source import SourceFile, file_state
from console.s3.operations import StoredObject, open_multiparts
from console.s3.part_size import Part
from console.s3.transfer_errors import Stopped, TransferError
from console.transfer.comparison import compare
from console.transfer.send import send
from console.transfer.transport import Transport
from tests.faults import proxy as faults
from tests.faults.proxy import Do, FaultProxy

from .doubles import MIB, Commands, MakeFile, Notes, an_upload, options

NOBODY = Unattended()


# --- reading


def a_body(source: SourceFile, part: Part, notes: Notes | None = None, limit: int = 0) -> Body:
    notes = notes or Notes()
    return Body(source, part, bandwidth=BandwidthLimit(limit), journal=notes, control=notes.commands)


def test_a_body_is_its_stretch_of_the_file(make_file: MakeFile) -> None:
    path = make_file(3 * MIB)
    data = path.read_bytes()
    notes = Notes()
    with SourceFile.open(str(path)) as source:
        body = a_body(source, Part(2, 1000, 2 * MIB), notes)
        assert len(body) == 2 * MIB
        assert b"".join(iter(lambda: body.read(70_001), b"")) == data[1000 : 1000 + 2 * MIB]
        assert body.seek(0) == 0
        assert body.read() == data[1000 : 1000 + 2 * MIB]
        assert notes.net_sent == 2 * MIB
        body.seek(10)
        assert body.read(100) == data[1010:1110]
        assert body.seek(-3, os.SEEK_END) == 2 * MIB - 3
        assert len(body.read(100)) == 3
        assert body.read(100) == b""
        body.take_back()
        assert notes.net_sent == 0


def test_a_large_body_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    with SourceFile.open(str(path)) as source:
        body = a_body(source, Part(1, 0, 64 * MIB))
        tracemalloc.start()
        while body.read(128 * 1024):
            pass
        source.digests(0, 64 * MIB, (Algorithm.CRC64NVME,), NOBODY)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 4 * MIB


def test_digests_of_a_stretch(make_file: MakeFile) -> None:
    path = make_file(2 * MIB + 5)
    data = path.read_bytes()
    with SourceFile.open(str(path)) as source:
        digests = source.digests(3, 2 * MIB, (Algorithm.CRC32C, Algorithm.MD5), NOBODY)
        assert digests == {a: digest_bytes(a, data[3 : 3 + 2 * MIB]) for a in (Algorithm.CRC32C, Algorithm.MD5)}
        assert source.digests(0, 0, (Algorithm.CRC32,), NOBODY) == {Algorithm.CRC32: bytes(4)}


def test_a_stop_leaves_a_body_at_once(make_file: MakeFile) -> None:
    notes = Notes()
    with SourceFile.open(str(make_file(MIB))) as source:
        body = a_body(source, Part(1, 0, MIB), notes)
        body.read(10)
        notes.commands.stop()
        with pytest.raises(Stopped):
            body.read(10)
        assert isinstance(body.failure, Stopped)


Change = Callable[[Path], object]


def shrink(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


CHANGES = {shrink: "FileChanged", grow: "FileChanged", rewrite: "FileChanged", replace: "FileChanged"}
CHANGES_AND_LOSS = {**CHANGES, Path.unlink: "FileNotFound"}


@pytest.mark.parametrize("change", CHANGES_AND_LOSS, ids=lambda change: change.__name__)
def test_the_last_piece_of_a_changed_file_is_not_handed_out(make_file: MakeFile, change: Change) -> None:
    path = make_file(300_000)
    with SourceFile.open(str(path)) as source:
        body = a_body(source, Part(1, 0, 300_000))
        body.read(100_000)
        change(path)
        with pytest.raises(TransferError) as caught:
            body.read()
        assert body.failure is caught.value
        assert caught.value.code == CHANGES_AND_LOSS[change]
        assert "file.bin" in caught.value.message


@pytest.mark.parametrize("change", CHANGES_AND_LOSS, ids=lambda change: change.__name__)
@pytest.mark.parametrize("size", [3 * MIB, 11 * MIB])
def test_a_file_that_changes_while_it_is_sent_makes_no_object(
    faulty: Transport, s3, bucket: str, make_file: MakeFile, change: Change, size: int
) -> None:
    path = make_file(size)

    turn = threading.Lock()

    class Changing(Notes):
        def sent(self, byte_count: int) -> None:
            super().sent(byte_count)
            with turn:  # parts are sent by several threads
                if self.net_sent >= size // 2 and not self.codes:
                    self.codes.append("changed")
                    change(path)

    notes = Changing()
    with pytest.raises(TransferError) as caught:
        send(an_upload(path, bucket), transport=faulty, options=options(), journal=notes, control=Commands())
    assert caught.value.code == CHANGES_AND_LOSS[change]
    assert caught.value.recovery is Recovery.PERMANENT
    assert notes.codes == ["changed"]
    assert s3.list_objects_v2(Bucket=bucket).get("KeyCount", 0) == 0
    assert list(open_multiparts(s3, bucket)) == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_file_that_changed_before_completion_makes_no_object(
    faulty: Transport, proxy: FaultProxy, s3, bucket: str, make_file: MakeFile, change: Change
) -> None:
    path = make_file(11 * MIB)
    proxy.plan("UploadPart", Do(lambda: change(path)), skip=2)
    with pytest.raises(TransferError, match="FileChanged"):
        send(an_upload(path, bucket), transport=faulty, options=options(), journal=Notes(), control=Commands())
    assert s3.list_objects_v2(Bucket=bucket).get("KeyCount", 0) == 0
    assert list(open_multiparts(s3, bucket)) == []


@pytest.mark.parametrize("change", [grow, rewrite, replace, Path.unlink], ids=lambda change: change.__name__)
def test_an_empty_file_that_changes_before_it_is_stored_makes_no_object(
    faulty: Transport, proxy: FaultProxy, s3, bucket: str, make_file: MakeFile, change: Change
) -> None:
    path = make_file(0)
    upload = an_upload(path, bucket)
    proxy.plan("PutObject", faults.Answer(503, "SlowDown"))
    notes = Notes()
    notes.noted = lambda *_: change(path)  # type: ignore[method-assign]
    with pytest.raises(TransferError) as caught:
        send(upload, transport=faulty, options=options(), journal=notes, control=Commands())
    assert caught.value.code == CHANGES_AND_LOSS[change]
    assert s3.list_objects_v2(Bucket=bucket).get("KeyCount", 0) == 0


@pytest.mark.parametrize("change", [shrink, grow, rewrite])
def test_a_file_that_changed_while_paused_starts_again(
    transport: Transport, s3, bucket: str, make_file: MakeFile, change: Change
) -> None:
    path = make_file(17 * MIB)
    upload = an_upload(path, bucket)
    transport.pool.slots.resize(1)
    commands = Commands(after_bytes=7 * MIB)
    notes = Notes(commands)
    with pytest.raises(Stopped):
        send(upload, transport=transport, options=options(), journal=notes, control=commands)
    change(path)
    again = Notes()
    resumed = upload.model_copy(update={"multipart": notes.opened[0]})
    send(resumed, transport=transport, options=options(), journal=again, control=Commands())
    assert s3.get_object(Bucket=bucket, Key="file.bin")["Body"].read() == path.read_bytes()
    assert again.codes == ["FileChanged"]
    assert again.closed == 1
    assert again.states == [file_state(str(path))]
    assert len(again.opened) == 1
    assert list(open_multiparts(s3, bucket)) == []


@pytest.mark.parametrize(
    ("part_size", "same"), [(8 * MIB, True), (9 * MIB, True), (None, True), (6 * MIB, False)], ids=str
)
def test_an_object_is_compared_also_where_its_parts_were_of_the_usual_size(
    make_file: MakeFile, part_size: int | None, same: bool
) -> None:
    """Its ETag tells how many parts there were, and nothing of their size: 6 MiB would also make three."""
    path = make_file(17 * MIB)
    data = path.read_bytes()
    digests = [hashlib.md5(data[start : start + 8 * MIB]).digest() for start in range(0, len(data), 8 * MIB)]
    etag = f"{hashlib.md5(b''.join(digests)).hexdigest()}-3"
    with SourceFile.open(str(path)) as source:
        stored = StoredObject(len(data), StoredBody(etag))
        assert compare(source, stored, part_size, NOBODY).same is same


def test_the_fingerprint_sees_the_ends_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    seen = set()
    for data in (b"a" + bytes(MIB), b"b" + bytes(MIB), bytes(MIB) + b"a"):
        path.write_bytes(data)
        os.utime(path, ns=(5, 5))
        seen.add(file_state(str(path)).fingerprint)
    assert len(seen) == 3
    assert file_state(str(path)) == file_state(str(path))


# --- what cannot be opened


def test_what_is_no_file_has_its_own_code(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    codes = {"fifo": "NotARegularFile", ".": "NotARegularFile", "gone": "FileNotFound", "loop": "FileNotFound"}
    for name, code in codes.items():
        with pytest.raises(TransferError) as caught:
            SourceFile.open(str(tmp_path / name))
        assert caught.value.code == code


def test_a_file_that_may_not_be_read(make_file: MakeFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who may read everything: the system's answer is played."""

    def refuse(*_: object, **__: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    path = make_file(1)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TransferError) as caught:
        SourceFile.open(str(path))
    assert (caught.value.code, caught.value.recovery) == ("PermissionDenied", Recovery.NEEDS_ACTION)
