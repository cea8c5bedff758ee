"""From a file that comes to rest to a completed record, on the real servers."""

from __future__ import annotations

from console.models import Source
from console.watch.notes import Kind
from tests.watch.conftest import World
from tests.watch.waiting import until


def test_files_that_are_there_and_files_that_come_are_uploaded_under_their_keys(world: World) -> None:
    world.write("early.txt", "early", age_seconds=60)
    world.run()
    world.watch(world.rule(to=f"s3://{world.bucket}/incoming", name="scans", storage_class="STANDARD"))
    until(lambda: world.notes.of(Kind.SCANNED))
    world.write("deep/er/late.txt", "late")
    documents = world.completed(2)
    assert {document["key"]: document["source"] for document in documents} == {
        "incoming/early.txt": Source.WATCH,
        "incoming/deep/er/late.txt": Source.WATCH,
    }
    assert world.body("incoming/deep/er/late.txt") == b"late"
    assert {document["watch"]["rule"] for document in documents} == {"scans"}
    assert documents[0]["storage"] == {"storage_class": "STANDARD"}
    until(lambda: len(world.notes.of(Kind.COMPLETED)) == 2)
