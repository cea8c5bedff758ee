"""A body's checksums, and how much of it goes at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from console.s3.checksums import Algorithm, digest_bytes
from console.s3.client import ClientOptions
from console.s3.engines import body as body_module
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.body import LARGEST_PIECE, Body
from console.s3.engines.source import SourceFile
from console.s3.part_size import Part
from console.transfer.send import send
from console.transfer.transport import open_transport

from .doubles import MIB, Commands, MakeFile, Notes, an_upload, options

ALGORITHMS = (Algorithm.CRC32C, Algorithm.MD5)


def a_body(source: SourceFile, part: Part, **values: object) -> Body:
    notes = Notes()
    return Body(
        source,
        part,
        algorithms=ALGORITHMS,
        bandwidth=BandwidthLimit(0),
        journal=notes,
        control=notes.commands,
        **values,  # type: ignore[arg-type]
    )


def expected(path: Path, part: Part) -> dict[Algorithm, bytes]:
    data = path.read_bytes()[part.offset : part.offset + part.length]
    return {algorithm: digest_bytes(algorithm, data) for algorithm in ALGORITHMS}


def test_checksums_of_what_was_not_read_yet(make_file: MakeFile) -> None:
    path, part = make_file(3 * MIB), Part(2, 1000, 2 * MIB)
    with SourceFile.open(str(path)) as source:
        body = a_body(source, part)
        body.read(MIB)
        position = body.tell()
        assert body.digests() == expected(path, part)
        assert body.tell() == position


def test_checksums_that_are_known_are_not_computed(make_file: MakeFile) -> None:
    known = dict.fromkeys(ALGORITHMS, b"known")
    with SourceFile.open(str(make_file(1000))) as source:
        body = a_body(source, Part(1, 0, 1000), known=known)
        body.read()
        assert body.digests() == known


def test_pieces_grow_while_they_go_quickly_and_shrink_while_they_do_not(
    make_file: MakeFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(body_module.time, "monotonic", lambda: now)
    with SourceFile.open(str(make_file(9 * MIB))) as source:
        body = a_body(source, Part(1, 0, 9 * MIB))
        sizes = []
        for seconds in [0.01] * 12 + [0.1] + [1.0] * 6:
            sizes.append(len(body.read(9 * MIB)))
            now += seconds
    kibibytes = [size // 1024 for size in sizes]
    assert kibibytes == [128] * 8 + [256, 512, 1024, 1024, 1024, 1024, 512, 256, 128, 64, 64]


@pytest.mark.parametrize("size", [100_000, 8 * MIB])
def test_bodies_go_in_large_pieces(
    services, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    asked: list[int] = []
    read = Body.read

    def spy(self: Body, wanted: int = -1, /) -> bytes:
        asked.append(wanted)
        return read(self, wanted)

    monkeypatch.setattr(Body, "read", spy)
    path = tmp_path / "file.bin"
    path.write_bytes(os.urandom(size))
    transport = open_transport(ClientOptions(endpoint_url=services.s3_endpoint))
    try:
        upload = an_upload(path, bucket)
        send(upload, transport=transport, options=options(), journal=Notes(), control=Commands())
    finally:
        transport.close()
    assert set(asked) == {LARGEST_PIECE}
