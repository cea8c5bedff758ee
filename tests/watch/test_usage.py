"""What is said of a wrong call of `watch`, without a program. That it ends with 2: test_command."""

from __future__ import annotations

from pathlib import Path

import pytest

from console.commands.watch import WatchOptions, run
from console.errors import UsageError
from console.settings import load

NOWHERE = Path("/there/is/none")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (WatchOptions(), "there is nothing to watch"),
        (WatchOptions(to="s3://b"), "--to is for folders on the command line"),
        (WatchOptions([Path("/in")], to="b/x"), "--to: expected s3://bucket or s3://bucket/prefix (got 'b/x')"),
        (WatchOptions([NOWHERE], dry_run=True), "/there/is/none does not exist, or is not a folder"),
    ],
)
def test_wrong_usage_is_named(options: WatchOptions, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(lambda: load(None, {}, {}), options)
    assert caught.value.message.startswith(said)
