"""What a watch is doing, and what it did since it started: values, for heartbeats, metrics and screens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """What a watch is doing."""

    STARTING = "starting"
    SCANNING = "scanning"
    WATCHING = "watching"
    POLLING = "polling"
    PAUSED = "paused"
    STANDBY = "standby"
    MISSING = "folder missing"
    STOPPED = "stopped"


@dataclass(slots=True)
class Counters:
    """What a watch did since it started. Durations in seconds."""

    overflows: int = 0
    scans: int = 0
    scan_seconds: float = 0.0
