"""The key of the seals, and what it vouches for."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from console.models import Checksum, Multipart, Upload
from console.records import seals as module
from console.records.seals import Seals
from tests.records.documents import new_upload

MINE, OTHERS = Seals(b"m" * 32), Seals(b"o" * 32)


def test_a_seal_stays_what_earlier_versions_made_it() -> None:
    """Else nothing that was recorded before an upgrade would be known as this user's own."""
    assert MINE.manifest('a\u00fc"\\\n') == (
        "ea892036cb514a97:e7cd6fa02ce4ab3e3f375c0602cb158bca263460768f7d353fda242205c68d0e"
    )


@pytest.fixture
def upload() -> Upload:
    found = Upload.model_validate(new_upload().document(datetime.now(UTC)))
    return found.model_copy(update={"seal": MINE.request(found)})


@pytest.fixture
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    module._key_in.cache_clear()
    return module.key_file()


def test_the_key_is_made_once_and_read_by_nobody_else(key_file: Path) -> None:
    old = os.umask(0)
    try:
        first = Seals.of_this_user()
    finally:
        os.umask(old)
    assert (key_file.stat().st_mode & 0o777, key_file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [path.name for path in key_file.parent.iterdir()] == [key_file.name]
    module._key_in.cache_clear()
    assert Seals.of_this_user().prefix == first.prefix


def test_of_several_that_begin_at_once_all_have_the_same(key_file: Path) -> None:
    def begin(_: int) -> bytes:
        return module._read_or_make(key_file)

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(begin, range(64)))) == 1


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o602])
def test_a_key_that_others_may_know_is_not_used(key_file: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    known = Seals.of_this_user().prefix
    key_file.chmod(mode)
    module._key_in.cache_clear()
    assert Seals.of_this_user().prefix != known
    assert "mode 0600" in caplog.text


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_what_is_no_key_is_not_used(key_file: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    key_file.parent.mkdir(parents=True)
    key_file.write_bytes(content)
    key_file.chmod(0o600)
    Seals.of_this_user()
    assert "remove it" in caplog.text
    assert key_file.read_bytes() == content


def test_a_link_in_the_place_of_the_key_is_not_followed(key_file: Path, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_bytes(b"k" * 32)
    known.chmod(0o600)
    key_file.parent.mkdir(parents=True)
    key_file.symlink_to(known)
    assert Seals.of_this_user().prefix != Seals(b"k" * 32).prefix


def test_a_request_is_vouched_for_by_its_own_key(upload: Upload) -> None:
    assert MINE.is_own_request(upload)
    assert not OTHERS.is_own_request(upload)
    assert not MINE.is_own_request(upload.model_copy(update={"seal": None}))
    assert not MINE.is_own_request(upload.model_copy(update={"seal": "\udcff"}))


def test_each_seal_answers_its_own_question(upload: Upload) -> None:
    """None can be put in the place of another."""
    multipart = MINE.multipart(upload, Multipart(upload_id="u", part_size=5))
    opened = upload.model_copy(update={"multipart": multipart})
    assert MINE.is_own_multipart(opened)
    assert not MINE.is_own_multipart(upload)
    for changed in ({"key": "x"}, {"bucket": "x"}, {"endpoint": "x"}):
        assert not MINE.is_own_multipart(opened.model_copy(update=changed))
    for parts in ({"upload_id": "x"}, {"part_size": 1}, {"seal": upload.seal}, {"seal": None}):
        assert not MINE.is_own_multipart(opened.model_copy(update={"multipart": multipart.model_copy(update=parts)}))


def test_what_was_found_was_not_made(upload: Upload) -> None:
    told: dict[str, Any] = {"etag": "e", "checksum": Checksum(algorithm="MD5", value="v")}
    done = upload.model_copy(update=told)
    made = done.model_copy(update={"result_seal": MINE.result(done, was_found=False)})
    found = done.model_copy(update={"result_seal": MINE.result(done, was_found=True)})
    assert (MINE.is_own_result(made), MINE.made(made)) == (True, True)
    assert (MINE.is_own_result(found), MINE.made(found)) == (True, False)
    assert not MINE.made(found.model_copy(update={"result_seal": str(found.result_seal).replace("found", "made")}))
    for changed in ({"etag": "x"}, {"path": "/x"}, {"version_id": "x"}, {"checksum": None}, {"fingerprint": "x"}):
        assert not MINE.is_own_result(made.model_copy(update=changed))


def test_no_two_requests_have_one_text(upload: Upload) -> None:
    """Fields are told apart however their ends are moved."""
    one = upload.model_copy(update={"bucket": "a", "key": "b/c"})
    other = upload.model_copy(update={"bucket": "a/b", "key": "c"})
    assert MINE.request(one) != MINE.request(other)
