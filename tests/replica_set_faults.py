"""What may happen to a replica set, and its end."""

from __future__ import annotations

import contextlib

from pymongo.errors import AutoReconnect

from console.embedded.mongod import Member, ReplicaSet


def step_down(replica_set: ReplicaSet, seconds: int = 10) -> Member:
    """Have the primary step down and not stand again for `seconds`; returns the member that was primary.

    `seconds` must be 2 at least where there are others: half of them is theirs to catch up.
    """
    primary = _primary(replica_set)
    is_alone = len(replica_set.members) == 1
    # A primary that stepped down may close the connection that told it to.
    with primary.client() as client, contextlib.suppress(AutoReconnect):
        client.admin.command(
            "replSetStepDown",
            seconds,
            secondaryCatchUpPeriodSecs=0 if is_alone else seconds // 2,
            force=is_alone,
        )
    return primary


def kill_primary(replica_set: ReplicaSet) -> Member:
    """Kill the primary's process; returns that member, for `heal` later."""
    primary = _primary(replica_set)
    primary.process.kill()
    return primary


def heal(replica_set: ReplicaSet) -> None:
    """Start the members that are down, and wait until all are well."""
    for member in replica_set.members:
        if not member.is_running:
            member.start()
    replica_set.wait_until_stable()


def _primary(replica_set: ReplicaSet) -> Member:
    primary = replica_set.primary()
    assert primary is not None
    return primary
