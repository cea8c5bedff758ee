"""What a runner is offered of other hosts' uploads while it claims."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from console.models import Endpoint, Upload
from console.records.identity import RunnerIdentity
from console.runner import adoption as adoption_module
from console.runner.adoption import Adoption
from tests.transfer.doubles import an_upload


class Stalled:
    """Uploads, as far as they are asked: one is stalled, and stays so."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def stalled(self, *_: object, limit: int = 0) -> list[Upload]:
        return [self._upload] if limit else []


def test_a_look_that_began_before_the_claim_offers_nothing_that_is_at_work(tmp_path: Path) -> None:
    """It was sent twice at once, and a multipart upload was left that nobody knew of."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"bytes")
    upload = an_upload(path, "bucket")
    uploads: Any = Stalled(upload)
    goes_on = threading.Semaphore(0)

    def is_here(_: Upload) -> bool:
        return goes_on.acquire(timeout=60)

    identity = RunnerIdentity("here", tmp_path / "locks")
    adoption = Adoption(
        uploads, identity, is_here, 0, Endpoint(("http://s3",))
    )  # overdue at once, and looked for at each question
    assert adoption.takeable_elsewhere(set()) == []
    goes_on.release()
    wait_looked(adoption)
    assert adoption.takeable_elsewhere(set()) == [upload.id]  # and it begins to look again
    goes_on.release()  # once the runner is at work on it
    wait_looked(adoption)
    assert adoption.takeable_elsewhere({upload.id}) == []
    goes_on.release()
    identity.release()


def wait_looked(adoption: Adoption) -> None:
    assert adoption._looking is not None
    adoption._looking.join(60)
    assert not adoption._looking.is_alive()


def test_what_was_found_long_ago_is_not_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy runner asks rarely; meanwhile its runner may have renewed the lease, and lost it again a moment ago."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"bytes")
    upload = an_upload(path, "bucket")
    uploads: Any = Stalled(upload)
    identity = RunnerIdentity("here", tmp_path / "locks")
    now = 1000.0
    monkeypatch.setattr(adoption_module.time, "monotonic", lambda: now)
    adoption = Adoption(uploads, identity, lambda _: True, 60, Endpoint(("http://s3",)))  # a grace of 20 s
    for now, offered in [
        (1000.0, []),
        (1002.5, []),  # found overdue at 1,000
        (1021.0, []),
        (1023.5, [upload.id]),  # found overdue from 1,000 to 1,021
        (2000.0, []),  # it is offered as found at 1,023.5: long ago
        (2002.5, []),  # found at 2,000 for the first time again
    ]:
        assert adoption.takeable_elsewhere(set()) == offered, now
        wait_looked(adoption)
    identity.release()


def test_looks_that_take_long_ripen_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files in a slow share: each look takes longer than looks may be apart."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"bytes")
    upload = an_upload(path, "bucket")
    uploads: Any = Stalled(upload)
    now = [1000.0]
    monkeypatch.setattr(adoption_module.time, "monotonic", lambda: now[0])

    def is_here(_: Upload) -> bool:
        now[0] += 40
        return True

    identity = RunnerIdentity("here", tmp_path / "locks")
    adoption = Adoption(uploads, identity, is_here, 60, Endpoint(("http://s3",)))
    offered = []
    for _ in range(3):
        offered += adoption.takeable_elsewhere(set())
        wait_looked(adoption)
    assert offered == [upload.id]
    identity.release()
