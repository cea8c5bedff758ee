"""Telling systemd how the service is (sd_notify(3)): ready, reloading, stopping, alive.

Owns the socket protocol, in few lines. Without systemd nothing happens.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Speaks to the service manager that started this process, if one did."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = self._watchdog(environment)
        """Within so many seconds it wants to hear `alive`; None where it does not listen for that."""

    def ready(self, status: str) -> None:
        """Started, or reloaded."""
        self._tell(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Reads its rules anew; `ready` follows."""
        self._tell(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """On its way to a regular end."""
        self._tell("STOPPING=1")

    def alive(self, status: str) -> None:
        """Still at work."""
        self._tell(f"WATCHDOG=1\nSTATUS={status}")

    def _tell(self, text: str) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto(text.encode("utf-8", "replace"), address)

    @staticmethod
    def _watchdog(environment: Mapping[str, str]) -> float | None:
        if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
            return None
        try:
            return int(environment["WATCHDOG_USEC"]) / 1e6
        except (KeyError, ValueError):
            return None
