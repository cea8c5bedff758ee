"""The lock files of runners: what one that died leaves, and who may clean_up it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from console.records.identity import RunnerIdentity


def died(directory: Path, deployment: str) -> str:
    """The name of a runner that was killed: its file is there, and nobody holds it."""
    identity = RunnerIdentity("here", directory, deployment=deployment)
    assert identity._file is not None
    identity._file.close()
    return identity.name


def test_a_runner_that_died_is_known_until_no_document_names_it(tmp_path: Path) -> None:
    gone = died(tmp_path, "a")
    alive = RunnerIdentity("here", tmp_path, deployment="a")
    asking = RunnerIdentity("here", tmp_path, deployment="a")
    assert asking.dead_among([gone, alive.name, asking.name, "elsewhere:1:2"]) == [gone]
    asking.forget([gone])
    assert asking.dead_among([gone]) == [gone]
    asking.forget([])
    assert asking.dead_among([gone, alive.name]) == []
    assert len(list(tmp_path.iterdir())) == 2
    for identity in (alive, asking):
        identity.release()
    assert list(tmp_path.iterdir()) == []


def test_runners_of_another_deployment_leave_it(tmp_path: Path) -> None:
    """Their documents do not name it, and its own would have to wait until the lease has run out."""
    gone = died(tmp_path, "a")
    other = RunnerIdentity("here", tmp_path, deployment="b")
    other.forget([])
    same = RunnerIdentity("here", tmp_path, deployment="a")
    assert same.dead_among([gone]) == [gone]
    for identity in (other, same):
        identity.release()


def test_what_a_deployment_left_that_never_comes_back_is_tidied_after_a_week(tmp_path: Path) -> None:
    died(tmp_path, "a demo of long ago")
    [left] = tmp_path.iterdir()
    identity = RunnerIdentity("here", tmp_path, deployment="a")
    identity.forget([])
    assert left.exists()
    os.utime(left, (time.time() - 8 * 86_400, time.time() - 8 * 86_400))
    identity.forget([])
    assert not left.exists()
    identity.release()
