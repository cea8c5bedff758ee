"""What a runner holds, apart from servers: which of two claims of one upload is meant."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from console.records.uploads import Uploads
from console.records.writer import RecordWriter
from console.transfer.in_hand import InHand
from console.transfer.transfer_control import TransferControl

from .doubles import an_upload


class Sends:
    """A sender that sends until it is told to stop."""

    def __init__(self) -> None:
        self.controls: list[TransferControl] = []

    def takes(self, _: object) -> bool:
        return False

    def send(self, _upload: object, _journal: object, control: TransferControl) -> None:
        self.controls.append(control)
        control.wait(60)


@pytest.fixture
def sender() -> Sends:
    return Sends()


@pytest.fixture
def in_hand(sender: Sends, database: Any) -> Iterator[InHand]:
    writer = RecordWriter(database["uploads"], "r", on_lost=lambda upload_id, attempt: None)
    any_sender: Any = sender
    held = InHand(Uploads(database["uploads"]), any_sender, writer, leaving=threading.Event(), wants_more=lambda: None)
    held.change_limit(1)
    yield held
    held.leave()
    assert held.wait_idle(60)
    writer.close(60)


def test_the_loss_of_an_earlier_claim_leaves_the_present_one_alone(
    in_hand: InHand, sender: Sends, tmp_path: Path
) -> None:
    """It may be told late: then the upload would be held by a lease that is renewed for ever, and nobody at work."""
    path = tmp_path / "file.bin"
    path.write_bytes(b"bytes")
    upload = an_upload(path, "bucket").model_copy(update={"attempts": 3})
    in_hand.take([upload], claimed=True)
    assert not in_hand.lose(upload.id, 2)
    assert upload.id in in_hand.ids()
    assert in_hand.lose(upload.id, 3)
    assert in_hand.wait_idle(60)
