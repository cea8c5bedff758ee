"""How the watches of a process are, as OpenMetrics text (https://prometheus.io/docs/specs/om/open_metrics_spec/).

Owns the names of the metrics and a small HTTP server: `/metrics`, and `/healthz` with one line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

from console.errors import ConfigurationError
from console.watch.presence import WatchHeartbeat

CONTENT_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
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


def openmetrics(readings: Sequence[WatchReading]) -> str:
    """The text, with its end mark."""
    return "\n".join([*_lines(readings), "# EOF"]) + "\n"


def _lines(readings: Sequence[WatchReading]) -> Iterator[str]:
    for family in _FAMILIES:
        name = f"{_PREFIX}_{family.name}"
        yield f"# TYPE {name} {family.kind}"
        if family.unit:
            yield f"# UNIT {name} {family.unit}"
        yield f"# HELP {name} {family.help}"
        for reading in readings:
            suffix = "_total" if family.kind == "counter" else ""
            labels = f'{{rule="{_escaped(reading.rule)}"}}'
            yield f"{name}{suffix}{labels} {float(family.value(reading)):g}"
    name = f"{_PREFIX}_refused_by_reason"
    yield f"# TYPE {name} gauge"
    yield f"# HELP {name} Files in the folder that may not be sent, by reason."
    for reading in readings:
        for reason, files in (reading.heartbeat.refused_by_reason or {}).items():
            yield f'{name}{{rule="{_escaped(reading.rule)}",reason="{_escaped(reason)}"}} {files}'


def _escaped(label: str) -> str:
    text = label.encode("utf-8", "backslashreplace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


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
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()


def _handler(
    read: Callable[[], Sequence[WatchReading]], health: Callable[[], tuple[bool, str]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE, openmetrics(read()))
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
