"""Commands as a person calls them, in this process, on the real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from console.cli import app
from console.errors import ConsoleError
from console.records.database import Records
from console.settings import load

if TYPE_CHECKING:
    from pymongo.database import Database

    from console.embedded.services import EmbeddedServices


@dataclass(frozen=True)
class Answer:
    """What a command did. `error` is what a person reads on standard error when the command ends with one."""

    code: int
    out: str
    err: str
    error: ConsoleError | None


Command = Callable[..., Answer]


@pytest.fixture
def environment(services: EmbeddedServices, database: Database[dict[str, Any]], bucket: str) -> dict[str, str]:
    """Where the test's servers are."""
    return {
        "UPLOAD_CONSOLE_MONGODB__URI": services.mongodb_uri,
        "UPLOAD_CONSOLE_MONGODB__DATABASE": database.name,
        "UPLOAD_CONSOLE_MONGODB__TIMEOUT_SECONDS": "60",  # it is there, only perhaps slow
        "UPLOAD_CONSOLE_S3__ENDPOINT_URL": services.s3_endpoint,
        "UPLOAD_CONSOLE_S3__BUCKET": bucket,
    }


@pytest.fixture
def command(environment: dict[str, str]) -> Command:
    """Calls `upload-console` with some arguments."""

    def call(*arguments: str, typed: str | None = None) -> Answer:
        result = CliRunner().invoke(app, list(arguments), env=environment, input=typed)
        error = result.exception
        if error is not None and not isinstance(error, SystemExit | ConsoleError):
            raise error
        known = error if isinstance(error, ConsoleError) else None
        return Answer(known.exit_code if known else result.exit_code, result.stdout, result.stderr, known)

    return call


@pytest.fixture
def records(environment: dict[str, str]) -> Iterator[Records]:
    """The records that the commands work on."""
    with Records.open(load(None, environment, {}).mongodb) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A few files to upload: one empty, one in a subfolder, one whose name is hostile."""
    root = tmp_path / "outgoing"
    (root / "inner").mkdir(parents=True)
    (root / "empty").touch()
    (root / "inner" / "letter.txt").write_text("dear S3")
    (root / "evil\x1b[31m[bold]name").write_bytes(b"data, not markup")
    return root
