"""A real S3 server on a folder of this machine: `rclone serve s3`.

Owns finding rclone, its flags, its access key, and its buckets, which are subfolders. Keeps off the person's own
rclone configuration. Not here: S3 clients, and how long the process may live (`lifetime`).
"""

from __future__ import annotations

import http.client
import os
import secrets
import shutil
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final, Self

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from console.embedded.lifetime import (
    LOOPBACK,
    ServiceFolder,
    SupervisedProcess,
    accepts_connections,
    free_port,
    wait_until,
)
from console.embedded.programs import find_program
from console.errors import EmbeddedServerFailed
from console.private_files import make_private_folder

_START_SECONDS: Final = 60.0
_GRACE_SECONDS: Final = 5.0
_BIND_ATTEMPTS: Final = 5
# What rclone leaves behind when it is killed during an upload; never acknowledged data (`rclone serve s3 --help`).
_LEFTOVERS: Final = ".rclone_temp_*"
_LEAST_VERSION: Final = (1, 75, 1)  # --multipart-expiry


def find_rclone() -> Path:
    """The rclone on PATH where it is new enough, else the one in the bin folder of this Python environment.

    Raises:
        EmbeddedServerFailed: there is none.
    """
    bundled = shutil.which("rclone", path=sysconfig.get_path("scripts"))
    return find_program(
        "rclone", bundled=Path(bundled) if bundled else None, least=_LEAST_VERSION, version_argument="version"
    )


@dataclass(frozen=True, slots=True)
class AccessKey:
    """An access key and its secret, made at random unless given."""

    id: str = field(default_factory=lambda: secrets.token_hex(10).upper())
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)


class S3Server:
    """A running S3 server; a context manager that ends it."""

    def __init__(
        self, folder: ServiceFolder, *, bucket: str, access_key: AccessKey | None = None, port: int | None = None
    ) -> None:
        """Plan a server in `folder` with one bucket; nothing is started. `port` is used again if it is free."""
        self._program = find_rclone()
        self._folder = folder
        self._process: SupervisedProcess | None = None
        self.bucket = bucket
        self.access_key = access_key or AccessKey()
        self.port = free_port(port)
        self.objects = folder.path / "s3"

    @property
    def endpoint(self) -> str:
        """The URL that S3 clients take as `endpoint_url`; buckets go into its path."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def process(self) -> SupervisedProcess:
        if self._process is None:
            raise EmbeddedServerFailed("the S3 server was not started")
        return self._process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, interrupted: Event | None = None) -> Self:
        """Make the bucket, start, and wait until requests are answered.

        Raises:
            EmbeddedServerFailed: it did not start.
            StartInterrupted: the event was set.
        """
        for folder in (self.objects, self.objects / self.bucket):  # rclone caches listings: not while it runs
            make_private_folder(folder)
        for leftover in self.objects.rglob(_LEFTOVERS):
            leftover.unlink(missing_ok=True)
        for attempt in range(_BIND_ATTEMPTS):
            self._process = self._launch()
            try:
                wait_until(
                    self._answers,
                    what="answering requests",
                    process=self._process,
                    timeout_seconds=_START_SECONDS,
                    interrupted=interrupted,
                )
            except BaseException:
                is_taken = "address already in use" in self._process.last_output()
                self._process.stop()
                if is_taken and attempt < _BIND_ATTEMPTS - 1:
                    self.port = free_port()
                    continue
                raise
            break
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def _launch(self) -> SupervisedProcess:
        own = {name: value for name, value in os.environ.items() if not name.startswith("RCLONE_")}
        # In the environment and not on the command line, which every user of the machine can read. CSV, hence quoted.
        own["RCLONE_AUTH_KEY"] = f'"{self.access_key.id},{self.access_key.secret}"'
        command: list[str | Path] = [
            self._program,
            *("serve", "s3", self.objects),
            *("--addr", f"{LOOPBACK}:{self.port}"),
            *("--config", ""),  # none at all
            *("--cache-dir", self._folder.path / "s3-cache"),
            # Acknowledged means in the folder, not in a cache that is written back later.
            *("--vfs-cache-mode", "off"),
            # An upload may be paused for days.
            *("--multipart-expiry", "0"),
        ]
        return SupervisedProcess(
            command,
            log=self._folder.path / "s3.log",
            grace_seconds=_GRACE_SECONDS if self._folder.is_kept else 0,
            folder=self._folder,
            environment=own,
        )

    def _answers(self) -> bool:
        """Whether ListBuckets succeeds with our key: so it is our server, and no other that took the port meanwhile."""
        if not accepts_connections(self.port):
            return False
        request = AWSRequest("GET", f"{self.endpoint}/")
        S3SigV4Auth(Credentials(self.access_key.id, self.access_key.secret), "s3", "us-east-1").add_auth(request)
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=2)
        try:
            connection.request("GET", "/", headers=dict(request.headers.items()))
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
