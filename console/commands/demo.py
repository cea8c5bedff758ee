"""`demo`: the console on embedded servers, with sample files. Nothing to configure, nothing left behind."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from console.commands.fullscreen import run as run_console
from console.config import ENVIRONMENT_PREFIX, Settings, load
from console.embedded.samples import make_samples
from console.embedded.services import EmbeddedServices
from console.private_files import open_private

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
