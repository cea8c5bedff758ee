"""Both embedded servers as one thing: started together, told about in one place, ended together.

Owns the folder's layout and what is remembered between runs (ports, password, access key). Not here: the command
`services` (`console.commands.demo`), sample files (`samples`).

    DIR/services.json   ports, password and access key, where the folder is kept
    DIR/lock            held while servers run on the folder
    DIR/mongodb/        mongod's data; its log is mongodb.log, its key mongodb.key
    DIR/s3/BUCKET/      the objects; the server's log is s3.log
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from console.embedded.lifetime import ServiceFolder
from console.embedded.mongod import ReplicaSet
from console.embedded.s3 import AccessKey, S3Server
from console.errors import EmbeddedServerFailed
from console.formatting import visible
from console.private_files import write_private

BUCKET: Final = "uploads"


class _Kept(BaseModel):
    """What `services.json` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mongodb_port: int
    s3_port: int
    mongodb_password: str = ""  # those of before had none
    access_key: str
    secret_key: str


class EmbeddedServices:
    """A running mongod (one member, primary) and S3 server (one bucket). A context manager that ends both.

    Loopback only, where other users of the machine are too: both ask for a password.
    """

    def __init__(self, folder: ServiceFolder, replica_set: ReplicaSet, s3_server: S3Server) -> None:
        self._folder = folder
        self.replica_set = replica_set
        self.s3_server = s3_server

    @classmethod
    def start(cls, directory: Path | None = None, *, interrupted: Event | None = None) -> Self:
        """Start both at once; returns when both answer.

        Without `directory` the data lie in a private folder that is removed at the end, however this process ends.

        Raises:
            EmbeddedServerFailed: a server is missing or did not start, or the folder is in use or unusable.
            StartInterrupted: the event was set meanwhile; nothing is left running.
        """
        folder = ServiceFolder(directory)
        try:
            kept = _read(folder)
            replica_set = ReplicaSet(
                folder,
                ports=[kept.mongodb_port] if kept else (),
                password=kept.mongodb_password if kept else None,
            )
            s3_server = S3Server(
                folder,
                bucket=BUCKET,
                access_key=AccessKey(kept.access_key, kept.secret_key) if kept else None,
                port=kept.s3_port if kept else None,
            )
            services = cls(folder, replica_set, s3_server)
        except BaseException:
            folder.close()
            raise
        try:
            with ThreadPoolExecutor(2) as executor:
                for starting in [executor.submit(server.start, interrupted) for server in (replica_set, s3_server)]:
                    starting.result()
            services._remember()
        except OSError as error:
            services.close()
            raise EmbeddedServerFailed(f"{visible(str(error.filename))}: {error.strerror}") from None
        except BaseException:
            services.close()
            raise
        return services

    @property
    def directory(self) -> Path:
        return self._folder.path

    @property
    def mongodb_uri(self) -> str:
        return self.replica_set.uri

    @property
    def s3_endpoint(self) -> str:
        """The S3 server's URL; path-style addressing."""
        return self.s3_server.endpoint

    @property
    def bucket(self) -> str:
        return self.s3_server.bucket

    @property
    def access_key(self) -> str:
        return self.s3_server.access_key.id

    @property
    def secret_key(self) -> str:
        return self.s3_server.access_key.secret

    def check(self) -> None:
        """Return if both servers run.

        Raises:
            EmbeddedServerFailed: one has ended by itself.
        """
        for process in (self.replica_set.members[0].process, self.s3_server.process):
            process.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both servers and give up the folder. May be called twice."""
        self.replica_set.stop()
        self.s3_server.stop()
        self._folder.close()

    def _remember(self) -> None:
        if not self._folder.is_kept:
            return
        kept = _Kept(
            mongodb_port=self.replica_set.members[0].port,
            s3_port=self.s3_server.port,
            mongodb_password=self.replica_set.password,
            access_key=self.access_key,
            secret_key=self.secret_key,
        )
        file = self._folder.path / "services.json"
        write_private(file, kept.model_dump_json(indent=2) + "\n")


def _read(folder: ServiceFolder) -> _Kept | None:
    file = folder.path / "services.json"
    try:
        return _Kept.model_validate_json(file.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise EmbeddedServerFailed(
            f"{visible(str(file))} cannot be read: {error}",
            advice="Remove that file: ports, password and access key are then made again.",
        ) from None
