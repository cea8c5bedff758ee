"""Sample files: there at once, the same everywhere, no two parts alike."""

from __future__ import annotations

import hashlib

import pytest

from console.embedded.samples import make_samples
from console.errors import EmbeddedServerFailed

SMALLEST_PART = 5 * 1024 * 1024  # S3's own minimum


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    directory = tmp_path_factory.mktemp("samples")
    return {str(path.relative_to(directory)): path for path in make_samples(directory)}


def test_sizes_and_names_are_awkward_enough(samples):
    sizes = sorted(path.stat().st_size for path in samples.values())
    assert sizes[0] == 0
    assert 0 < sizes[1] < 16 * 1024
    assert sizes[-1] == 200 * 1024 * 1024
    assert any(" " in name for name in samples)
    assert any(not name.isascii() for name in samples)
    assert any("/" in name for name in samples)


def test_large_files_take_little_disk_and_no_two_parts_are_alike(samples):
    assert sum(path.stat().st_blocks * 512 for path in samples.values()) < 16 * 1024 * 1024
    parts = []
    for path in samples.values():
        with path.open("rb") as stream:
            while part := stream.read(SMALLEST_PART):
                parts.append(hashlib.sha256(part).digest())
    assert len(parts) > 80
    assert len(set(parts)) == len(parts)


def test_made_again_they_are_the_same_and_what_is_there_stays(samples, tmp_path):
    changed = tmp_path / "read me first.md"
    changed.write_text("mine now")
    make_samples(tmp_path)
    again = make_samples(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in again} == set(samples)
    assert changed.read_text() == "mine now"
    for name in ("logs/access.log", "photos/harbour at night.raw"):
        assert (tmp_path / name).read_bytes() == samples[name].read_bytes()
    assert not list(tmp_path.rglob("*.making"))


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "logs").write_text("a file in the way")
    with pytest.raises(EmbeddedServerFailed, match=r"/logs: "):
        make_samples(tmp_path)
