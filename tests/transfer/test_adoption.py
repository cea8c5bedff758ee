"""What a runner is offered of other hosts' uploads while it claims."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from console.models import Upload
from console.transfer.adoption import Adoption
from console.transfer.identity import RunnerIdentity

from .doubles import an_upload


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
    adoption = Adoption(uploads, identity, is_here, lease_seconds=0)  # overdue at once, and looked for at each question
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
