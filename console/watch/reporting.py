"""What a watch reports while it works: notes for logs and JSON lines, metrics for Prometheus, states for systemd.

Metrics are OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec/) on `/metrics`, with `/healthz`
beside them. systemd is told by sd_notify(3): ready, reloading, stopping, alive; without it nothing happens.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Literal

from console.errors import ConfigurationError
from console.records.watches import WatchHeartbeat

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric  # its import takes longer than a watch without metrics waits for

_PREFIX: Final = "upload_console_watch"
_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class WatchReading:
    """One watch as it is now. Durations in seconds."""

    rule: str
    heartbeat: WatchHeartbeat
    is_working: bool
    queued: int
    overflows: int
    scans: int
    scan_seconds: float


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    kind: Literal["gauge", "counter"]
    help: str
    value: Callable[[WatchReading], float]
    unit: str = ""


_FAMILIES: Final = (
    _Family("working", "gauge", "1 while the folder is watched, 0 while it is missing, paused or on standby.",
            lambda reading: reading.is_working),
    _Family("pending", "gauge", "Uploads that are waiting or being sent.", lambda reading: reading.heartbeat.pending),
    _Family("settling", "gauge", "Files that are not complete yet.", lambda reading: reading.heartbeat.waiting),
    _Family("refused", "gauge", "Files in the folder that may not be sent.",
            lambda reading: reading.heartbeat.refused),
    _Family("failed", "gauge", "Uploads that failed and wait for a person or a retry.",
            lambda reading: reading.heartbeat.failed),
    _Family("sent", "gauge", "Completed uploads on record.", lambda reading: reading.heartbeat.sent),
    _Family("queued", "counter", "Uploads recorded since the start.", lambda reading: reading.queued),
    _Family("overflows", "counter", "Times that the system dropped events.", lambda reading: reading.overflows),
    _Family("scans", "counter", "Scans of the folder.", lambda reading: reading.scans),
    _Family("scan_seconds", "gauge", "How long the last scan took.",
            lambda reading: reading.scan_seconds, "seconds"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Metrics:
    """A collector of prometheus-client: its families are made anew for each scrape."""

    readings: Sequence[WatchReading]

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.metrics_core import Metric

        for family in _FAMILIES:
            metric = Metric(f"{_PREFIX}_{family.name}", family.help, family.kind, family.unit)
            suffix = "_total" if family.kind == "counter" else ""
            for reading in self.readings:
                metric.add_sample(metric.name + suffix, _labels(rule=reading.rule), family.value(reading))
            yield metric
        refused = Metric(
            f"{_PREFIX}_refused_by_reason", "Files in the folder that may not be sent, by reason.", "gauge"
        )
        for reading in self.readings:
            for reason, files in reading.heartbeat.refused_by_reason.items():
                refused.add_sample(refused.name, _labels(rule=reading.rule, reason=reason), files)
        yield refused


def _labels(**labels: str) -> dict[str, str]:
    return {name: text.encode("utf-8", "backslashreplace").decode() for name, text in labels.items()}


class MetricsServer:
    """Answers on one address until closed. `read` gives the metrics, `health` one line and whether all is well."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        read: Callable[[], Sequence[WatchReading]],
        health: Callable[[], tuple[bool, str]],
    ) -> None:
        """Raises ConfigurationError where the address cannot be had. Port 0: any, see `port`."""
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(read, health))
        except (OSError, OverflowError) as error:
            raise ConfigurationError(f"--metrics-port: cannot listen on {host}:{port}: {error}") from None
        self._server.daemon_threads = True
        self.port: int = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(
    read: Callable[[], Sequence[WatchReading]], health: Callable[[], tuple[bool, str]]
) -> type[BaseHTTPRequestHandler]:
    from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST, generate_latest

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                text = generate_latest(_Metrics(read())).decode()  # type: ignore[no-untyped-call]
                self._answer(200, CONTENT_TYPE_LATEST, text)
            elif path == "/healthz":
                is_well, line = health()
                self._answer(200 if is_well else 503, "text/plain; charset=utf-8", f"{line}\n")
            else:
                self._answer(404, "text/plain; charset=utf-8", "There are /metrics and /healthz.\n")

        def _answer(self, status: int, content_type: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Each scrape in the log would bury what matters there."""

    return Handler


class NoteKind(StrEnum):
    WATCHING = "watching"  # the folder is watched from now on
    SCANNING = "scanning"  # a look at everything begins; told again as it goes on
    SCANNED = "scanned"
    QUEUED = "queued"  # an upload was recorded
    RECOGNISED = "recognised"  # a file that was sent bears a new name or time: no new upload
    REFUSED = "refused"
    LEFT = "left"  # not sent, for a reason that people should know
    COMPLETED = "completed"
    FAILED = "failed"
    MOVED = "moved"
    DELETED = "deleted"
    TROUBLE = "trouble"  # something does not work; it is tried again
    MISSING = "missing"  # the folder is not there
    OVERFLOW = "overflow"  # events were lost: everything is looked at
    PAUSED = "paused"
    RESUMED = "resumed"
    STANDBY = "standby"  # another process of this host watches the folder
    STOPPED = "stopped"
    # Only in a dry run:
    WOULD_SEND = "would send"
    SENT = "sent already"
    PENDING = "pending"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that happened to a rule, or to one of its files. `size` in bytes; `path` as `open()` takes it."""

    kind: NoteKind
    rule: str
    path: str = ""
    message: str = ""
    destination: str = ""
    size: int | None = None
    upload_id: str = ""


Listener = Callable[[Note], None]
"""Told of notes, from several threads; must not block for long and must not raise."""


def nobody(_: Note) -> None:
    """A listener that does not listen."""


class Notifier:
    """Speaks to the service manager that started this process, if one did."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self.watchdog_seconds = self._watchdog(environment)
        """Within so many seconds it wants to hear `alive`; None where it does not listen for that."""

    def ready(self, status: str) -> None:
        self._notify(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Reads its rules again; `ready` follows."""
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    def alive(self, status: str) -> None:
        self._notify(f"WATCHDOG=1\nSTATUS={status}")

    def _notify(self, text: str) -> None:
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
