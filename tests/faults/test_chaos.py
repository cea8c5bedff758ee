"""A process that sends is killed again and again, at any moment; in the end every object equals its file."""

from __future__ import annotations

import random
import secrets
import time

from console.models import UploadStatus
from console.transfer.orphans import abort_orphans, find_orphans
from tests.faults.conftest import MakeWorld
from tests.faults.world import MIB

KILLS = 30
LARGE_MIB = (5, 8, 12, 21, 26, 33, 40)
RATE = 40 * MIB
PARALLEL_PARTS = 2
IN_FLIGHT = PARALLEL_PARTS * 5 * MIB + 2 * MIB  # parts under way when the process dies, and small files beside them


def test_thirty_kills(make_world: MakeWorld) -> None:
    seed = secrets.randbits(32)
    chance = random.Random(seed)
    print(f"seed {seed}")
    world = make_world(parallel_uploads=3, parallel_parts=PARALLEL_PARTS)
    sizes = [size * MIB + chance.randrange(1000) for size in LARGE_MIB] + [chance.randrange(400_000) for _ in range(25)]
    chance.shuffle(sizes)
    ids = world.add(*(world.file(size, f"{number:02}.bin") for number, size in enumerate(sizes)))
    kills = 0
    while kills < KILLS:
        if set(world.statuses(ids)) == {UploadStatus.COMPLETED}:
            ids += world.add(world.file(21 * MIB, f"more-{kills}.bin"))  # so that every kill meets work
            sizes.append(21 * MIB)
        process = world.start_process(rate=RATE)
        time.sleep(chance.uniform(0.0, 0.8))  # the moment of the kill is what is random here: nothing is waited for
        process.kill()
        kills += 1
    done = world.statuses(ids).count(UploadStatus.COMPLETED)
    world.start_process()
    world.wait_completed(ids)
    orphans = find_orphans(world.s3, world.records.uploads, world.bucket, "", youngest_seconds=0)
    # Between S3's answer and the record there is a moment; what is opened then holds nothing.
    assert all(orphan.stored_bytes == 0 for orphan in orphans)
    abort_orphans(world.s3, world.records.uploads, world.bucket, orphans)
    needed, sent = sum(sizes), world.proxy.passed_bytes
    print(f"{kills} kills, {done} of {len(ids)} uploads completed before the last run, {len(orphans)} empty orphans")
    print(f"sent {sent / MIB:.0f} MiB, needed {needed / MIB:.0f} MiB: {sent / needed:.2f} times")
    assert sent <= needed + kills * IN_FLIGHT
    world.check()
