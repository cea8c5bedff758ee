"""Uploads of every kind for the fake backend."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from .fake_backend import NOW, document

MIB = 1024 * 1024


def some_uploads() -> list[dict[str, Any]]:
    """One upload of each kind that the table tells apart, and a few more."""
    error = {"code": "AccessDenied", "message": "User is not authorized to perform s3:PutObject", "at": NOW}
    checksum = {"algorithm": "CRC64NVME", "value": "k3bS0M1vFzo=", "kind": "FULL_OBJECT", "confirmed": "checksum"}
    return [
        document(
            1,
            status="uploading",
            filename="Überblick 2026.mp4",
            size=2_147_483_648,
            current=950_000_000,
            percentage=44.2,
            rate=18_300_000.0,
            started_at=NOW - timedelta(minutes=1),
            key="video/2026/Überblick 2026.mp4",
        ),
        document(
            2,
            status="uploading",
            filename="backup-2026-11-23.tar.zst",
            size=800 * MIB,
            current=790 * MIB,
            percentage=98.75,
            rate=4_400_000.0,
            started_at=NOW,
            key="backups/backup-2026-11-23.tar.zst",
        ),
        document(
            3,
            status="uploading",
            filename="stalled.iso",
            host="beta",
            size=700 * MIB,
            current=100 * MIB,
            percentage=14.3,
            lease={"runner": "beta:1", "expires_at": NOW - timedelta(minutes=5)},
        ),
        document(4, status="paused", requested="pause", filename="写真アルバム.zip", current=5 * MIB, percentage=30.1),
        document(5, filename="next.bin", priority=2, source="watch"),
        document(
            6, filename="a-very-long-file-name-that-does-not-fit-into-any-column-of-the-table.parquet", source="command"
        ),
        document(7, filename="evil\x1b[31m[bold]name[/bold]\n.txt"),
        document(8, status="failed", filename="secret.bin", error=error, attempts=3),
        document(9, status="completed", filename="empty.txt", size=0, checksum=checksum),
        *(document(n, status="completed", checksum=checksum, attempts=1) for n in range(10, 40)),
        document(40, status="cancelled", filename="unwanted.mov"),
        {"_id": "not one of ours", "filename": 12},
    ]
