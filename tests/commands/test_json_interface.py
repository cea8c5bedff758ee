"""The names of fields in JSON lines are an interface: programs of others read them, so none is renamed."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from console.commands.change_uploads import OutcomeLine
from console.commands.demo import ServicesLine
from console.commands.doctor import Finding
from console.commands.limits import LimitsLine
from console.commands.sweep import OrphanLine
from console.commands.upload_report import UploadLine
from console.commands.verify import VerifyLine
from console.commands.watch import WatchLine


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        (Finding, "check grade words mend"),
        (LimitsLine, "runner host kind bandwidth uploads parts"),
        (OrphanLine, "key upload_id initiated_at stored_bytes aborted"),
        (OutcomeLine, "intent changed refused kept"),
        (ServicesLine, "mongodb_uri s3_endpoint access_key secret_key bucket"),
        (
            UploadLine,
            "event path id destination size current percentage rate checksum etag code message at",
        ),
        (VerifyLine, "id path destination same words"),
        (WatchLine, "event at rule path destination size message id"),
    ],
)
def test_no_field_of_a_line_is_gone(line: type[BaseModel], fields: str) -> None:
    assert set(fields.split()) <= line.model_fields.keys()
