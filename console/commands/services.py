"""`services`: the embedded servers alone, until a signal or their own end."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import Final

from pydantic import BaseModel, ConfigDict

from console.commands.signals import INTERRUPTED, TERMINATION, handling
from console.embedded.lifetime import StartInterrupted
from console.embedded.services import EmbeddedServices
from console.formatting import visible

_CHECK_SECONDS: Final = 0.25


class ServicesLine(BaseModel):
    """The one line that `services --json` prints, when both servers answer."""

    model_config = ConfigDict(frozen=True)

    mongodb_uri: str
    s3_endpoint: str
    access_key: str
    secret_key: str
    bucket: str


def run(*, directory: Path | None, as_json: bool) -> int:
    """Start both servers, say where they are, and wait for a signal.

    Returns the exit code: 0 after SIGTERM and SIGHUP, 130 after Ctrl+C. Must be called in the main thread: signals are
    its business until it returns.

    Raises:
        EmbeddedServerFailed: a server is missing, did not start or has ended by itself.
    """
    ending = Event()
    received: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        received.append(number)
        ending.set()

    try:
        with (
            handling((signal.SIGINT, *TERMINATION), end),
            EmbeddedServices.start(directory, interrupted=ending) as services,
        ):
            print(_line(services).model_dump_json() if as_json else _words(services), flush=True)
            while not ending.wait(_CHECK_SECONDS):
                services.check()
    except StartInterrupted:
        pass
    return INTERRUPTED if signal.SIGINT in received else 0


def _line(services: EmbeddedServices) -> ServicesLine:
    return ServicesLine(
        mongodb_uri=services.mongodb_uri,
        s3_endpoint=services.s3_endpoint,
        access_key=services.access_key,
        secret_key=services.secret_key,
        bucket=services.bucket,
    )


def _words(services: EmbeddedServices) -> str:
    """Lines that a shell can take as they are."""
    return "\n".join(
        [
            f"# MongoDB and S3 are running; their data are in {visible(str(services.directory))}",
            f"export UPLOAD_CONSOLE_MONGODB__URI='{services.mongodb_uri}'",
            f"export UPLOAD_CONSOLE_S3__ENDPOINT_URL='{services.s3_endpoint}'",
            f"export UPLOAD_CONSOLE_S3__BUCKET='{services.bucket}'",
            f"export AWS_ACCESS_KEY_ID='{services.access_key}' AWS_SECRET_ACCESS_KEY='{services.secret_key}'",
            "# Ctrl+C ends both.",
        ]
    )
