"""`demo`: the console on embedded servers, with sample files. `services`: these servers alone, until a signal or
their end.
"""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Final

from pydantic import BaseModel, ConfigDict

from console.cli.process import INTERRUPTED, TERMINATION, handling
from console.commands.console import run as run_console
from console.embedded.lifetime import StartInterrupted
from console.embedded.samples import make_samples
from console.embedded.services import EmbeddedServices
from console.formatting import visible
from console.private_files import open_private
from console.settings import ENVIRONMENT_PREFIX, Settings, load

_CHECK_SECONDS: Final = 0.25


class ServicesLine(BaseModel):
    """The one line that `services --json` prints, when both servers answer."""

    model_config = ConfigDict(frozen=True)

    mongodb_uri: str
    s3_endpoint: str
    access_key: str
    secret_key: str
    bucket: str


def run_services(*, directory: Path | None, as_json: bool) -> int:
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


BANDWIDTH: Final = "12 MiB"
PART_SIZE: Final = "5 MiB"  # the least: at this bandwidth the bars move once a second or so
ENVIRONMENT_FILE: Final = "environment.sh"


def run(directory: Path | None) -> int:
    """Start both servers, make the samples, open the console; end all of it however the console is left.

    `directory` keeps servers' data and samples between runs.

    Raises:
        EmbeddedServerFailed: a server did not start, or the folder is in use.
    """
    sys.stderr.write("Starting MongoDB and S3 …\n")
    with EmbeddedServices.start(directory) as services:
        files = services.directory / "files"
        make_samples(files)
        environment = {
            "AWS_ACCESS_KEY_ID": services.access_key,
            "AWS_SECRET_ACCESS_KEY": services.secret_key,
            f"{ENVIRONMENT_PREFIX}MONGODB__URI": services.mongodb_uri,
            f"{ENVIRONMENT_PREFIX}S3__ENDPOINT_URL": services.s3_endpoint,
            f"{ENVIRONMENT_PREFIX}S3__BUCKET": services.bucket,
        }
        hint = _write_environment(services.directory / ENVIRONMENT_FILE, environment)
        return run_console(_settings(environment, files), hints=(hint,))


def _settings(environment: Mapping[str, str], files: Path) -> Settings:
    """The person's own configuration is left alone: the demo is the same on every machine."""
    for name in list(os.environ):
        if name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            del os.environ[name]
    os.environ.update({name: value for name, value in environment.items() if name.startswith("AWS_")})
    return load(
        None,
        {name: value for name, value in environment.items() if name.startswith(ENVIRONMENT_PREFIX)},
        {"transfer.bandwidth_limit": BANDWIDTH, "transfer.part_size": PART_SIZE, "ui.directory": files},
    )


def _write_environment(path: Path, environment: Mapping[str, str]) -> str:
    """A file for other shells, and what to do with it; it holds secrets, so it is the person's alone."""
    with os.fdopen(open_private(path), "w", encoding="utf-8") as file:
        file.writelines(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())
        programs = shlex.quote(str(Path(sys.executable).parent))  # an environment that is not active there, say
        file.write(f'export PATH={programs}:"$PATH"\n')
    return f"In another shell:\n. {shlex.quote(str(path))}\nupload-console upload FILE"
