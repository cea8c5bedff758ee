"""What a runner holds, apart from servers: which of two claims of one upload is meant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.models import Endpoint, Multipart
from console.records.seals import Seals
from console.records.uploads import Uploads
from console.records.writer import RecordWriter
from console.runner.active import ActiveUploads, Capacity
from console.runner.journal import StopReason, TransferControl
from console.runner.key_claims import KeyClaims
from console.runner.policy import Policy
from tests.transfer.doubles import an_upload


class Sends:
    """A sender that sends until it is told to stop."""

    uploads_at_once = 1
    small_at_once = 1

    def __init__(self) -> None:
        self.controls: list[TransferControl] = []
        self.begun = threading.Semaphore(0)
        self.aborted: list[str] = []

    def takes(self, _: object) -> bool:
        return False

    def send(self, _upload: object, _journal: object, control: TransferControl) -> None:
        self.controls.append(control)
        self.begun.release()
        control.wait(60)

    def abort(self, _upload: object, multipart: Multipart) -> None:
        self.aborted.append(multipart.upload_id)


@pytest.fixture
def sender() -> Sends:
    return Sends()


@pytest.fixture
def wants_more() -> threading.Semaphore:
    """Released each time that more is wanted."""
    return threading.Semaphore(0)


@pytest.fixture
def active_uploads(sender: Sends, wants_more: threading.Semaphore, database: Any) -> Iterator[ActiveUploads]:
    writer = RecordWriter(database["uploads"], "r", on_lost=lambda upload_id, attempt: None)
    any_sender: Any = sender
    uploads = Uploads(database["uploads"])
    held = ActiveUploads(
        uploads,
        any_sender,
        writer,
        KeyClaims(uploads, Endpoint(("http://s3",)), "r"),
        policy=Policy,
        leaving=threading.Event(),
        wants_more=wants_more.release,
    )
    yield held
    held.leave()
    assert held.wait_idle(60)
    writer.close(60)


def test_the_loss_of_an_earlier_claim_leaves_the_present_one_alone(
    active_uploads: ActiveUploads, sender: Sends, tmp_path: Path
) -> None:
    """It may be told late: then the upload would be held by a lease that is renewed for ever, and nobody at work."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"bytes")
    upload = an_upload(path, "bucket").model_copy(update={"attempts": 3})
    active_uploads.take([upload], claimed=True)
    assert not active_uploads.lose(upload.id, 2)
    assert upload.id in active_uploads.ids()
    assert active_uploads.lose(upload.id, 3)
    assert active_uploads.wait_idle(60)


def test_the_end_of_an_earlier_claim_leaves_the_present_one_alone(
    active_uploads: ActiveUploads, sender: Sends, wants_more: threading.Semaphore, tmp_path: Path
) -> None:
    """What was lost is claimed again by the same runner before the thread that sent it has noticed."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"bytes")
    upload = an_upload(path, "bucket")
    sender.uploads_at_once = 2
    for attempt in (1, 2):
        active_uploads.take([upload.model_copy(update={"attempts": attempt})], claimed=True)
        assert sender.begun.acquire(timeout=60)
    while wants_more.acquire(blocking=False):
        pass
    sender.controls[0].stop(StopReason.LOST)
    assert wants_more.acquire(timeout=60)  # the first has ended
    assert active_uploads.ids() == {upload.id}
    assert active_uploads.lose(upload.id, 2)
    assert active_uploads.wait_idle(60)


def test_what_is_let_go_of_while_it_waits_makes_room_again(
    active_uploads: ActiveUploads, sender: Sends, tmp_path: Path
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(bytes(1000))
    upload = an_upload(path, "bucket")
    sender.uploads_at_once = 0
    before = active_uploads.capacity()
    assert before is not None
    active_uploads.take([upload], claimed=False)
    assert active_uploads.capacity() == Capacity(0, before.bytes_ahead - 1000)
    active_uploads.obey(upload.id)
    assert active_uploads.wait_idle(60)
    assert active_uploads.capacity() == before


@pytest.mark.parametrize("is_deleted", [False, True])
def test_the_parts_of_what_was_lost_are_those_of_its_new_runner(
    active_uploads: ActiveUploads, sender: Sends, database: Any, tmp_path: Path, is_deleted: bool
) -> None:
    """Only without a document nobody would ever know of them."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"bytes")
    upload = an_upload(path, "bucket")
    begun = Seals.of_this_user().multipart(upload, Multipart(upload_id="begun", part_size=8))
    upload = upload.model_copy(update={"multipart": begun})
    if not is_deleted:
        database["uploads"].insert_one({"_id": upload.id})
    active_uploads.take([upload], claimed=True)
    assert sender.begun.acquire(timeout=60)
    assert active_uploads.lose(upload.id, upload.attempts)
    assert active_uploads.wait_idle(60)
    assert sender.aborted == (["begun"] if is_deleted else [])
