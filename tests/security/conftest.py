"""Fixtures of the security tests: the whole loop of the fault tests, and somebody who can write to the collection."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bson import Int64, ObjectId

from console.runner.policy import Policy
from console.s3.engines.source import file_state
from tests.faults.conftest import make_world, proxy, world  # noqa: F401 - fixtures
from tests.faults.world import HERE, World

Forge = Callable[..., ObjectId]


@pytest.fixture
def policy(world: World) -> Policy:  # noqa: F811
    """What a runner with one folder and the configured bucket may do, beside what its own user asked for."""
    root = world.folder / "files"
    root.mkdir(exist_ok=True)
    return Policy(roots=(str(root),), destinations=((world.bucket, "team/"),), duplicates=("overwrite",))


@pytest.fixture
def forge(world: World) -> Forge:  # noqa: F811
    """Writes a document as anybody with access to the collection can: by default one that a runner may carry out."""

    def write(path: Path, /, **fields: Any) -> ObjectId:
        state = file_state(os.fspath(path)) if path.is_file() else None
        now = datetime.now(UTC)
        document = {
            "_id": ObjectId(),
            "filename": path.name,
            "path": os.fspath(path),
            "host": HERE,
            "size": Int64(state.size if state else 0),
            "mtime_ns": Int64(state.mtime_ns if state else 0),
            "fingerprint": state.fingerprint if state else "x",
            "content_type": "text/plain",
            "bucket": world.bucket,
            "key": f"team/{path.name}",
            "source": "browser",
            "status": "pending",
            "requested": "run",
            "priority": 0,
            "attempts": 0,
            "created_at": now,
            "updated_at": now,
            **fields,
        }
        world.elsewhere.uploads.collection.insert_one(document)
        return document["_id"]

    return write
