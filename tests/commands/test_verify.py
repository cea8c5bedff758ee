"""`verify` where there is nothing to compare: what it says then, and ids that do not exist, as `list` has them too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bson import ObjectId

from console.records.database import Records
from tests.commands.running import Running
from tests.faults.proxy import Answer, FaultProxy, Hold

if TYPE_CHECKING:
    from console.embedded.services import EmbeddedServices
    from tests.commands.conftest import Command


def one_service(path: Path, *addresses: str) -> dict[str, str]:
    """The environment in which these addresses lead to one S3 service: the last one is where records say they are."""
    path.write_text(
        "[s3.endpoint_names]\n" + "".join(f'"{address}" = "{addresses[-1]}"\n' for address in addresses[:-1])
    )
    return {"UPLOAD_CONSOLE_CONFIG": str(path), "UPLOAD_CONSOLE_S3__ENDPOINT_URL": addresses[0]}


def test_what_cannot_be_compared_is_not_called_different(
    command: Command, folder: Path, environment: dict[str, str], services: EmbeddedServices, tmp_path: Path
) -> None:
    """An operator takes that for a damaged object."""
    assert command("upload", str(folder), "--json").code == 0
    (folder / "empty").unlink()
    with FaultProxy(services.s3_endpoint) as proxy:
        environment |= one_service(tmp_path / "one-service.toml", proxy.url, services.s3_endpoint)
        proxy.plan("HeadObject", Answer(403, "AccessDenied"), when=lambda request: "letter" in request.key, times=9)
        answer = command("verify", "--all", "--json")
        text = command("verify", "--all").out
    told = {Path(line["path"]).name: line for line in map(json.loads, answer.out.splitlines())}
    assert {name: line["same"] for name, line in told.items()} == {
        "empty": None,
        "letter.txt": None,
        "evil\x1b[31m[bold]name": True,
    }
    assert told["empty"]["words"].startswith("FileNotFound: ")
    assert told["letter.txt"]["words"].startswith("403: ")
    assert answer.code == 1
    assert sorted(line.split()[0] for line in text.splitlines()) == ["same", "unknown", "unknown"]


def test_verify_says_something_while_a_server_says_nothing(
    command: Command, folder: Path, environment: dict[str, str], services: EmbeddedServices, tmp_path: Path
) -> None:
    assert command("upload", str(folder / "inner"), "--json").code == 0
    with FaultProxy(services.s3_endpoint) as proxy:
        proxy.plan("HeadObject", silence := Hold())
        environment |= one_service(tmp_path / "one-service.toml", proxy.url, services.s3_endpoint)
        with Running("verify", "--all", environment=environment) as running:
            running.wait_for_error("S3 does not answer yet")
            assert silence.reached.is_set()
            silence.release.set()
            assert running.end() == 0


@pytest.mark.parametrize("name", ["list", "verify"])
def test_an_id_that_does_not_exist_is_no_success(command: Command, folder: Path, records: Records, name: str) -> None:
    unknown = str(ObjectId())
    for more in ([], ["--json"]):
        answer = command(name, unknown, *more)
        assert answer.code == 1
        assert answer.err == f"  {unknown}: no such upload\n"
    assert command("upload", str(folder / "inner"), "--json").code == 0
    known = str(records.uploads.find({})[0]["_id"])
    answer = command(name, known, unknown)
    assert answer.code == 1
    assert answer.err == f"  {unknown}: no such upload\n"
    assert "letter.txt" in answer.out
