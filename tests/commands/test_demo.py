"""What the demo leaves for other shells while it runs."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

from console.commands import demo


def test_another_shell_gets_the_servers_and_the_programs(tmp_path: Path) -> None:
    path = tmp_path / "environment.sh"
    hint = demo._write_environment(path, {"AWS_SECRET_ACCESS_KEY": "it's a secret"})
    assert f". {path}\n" in hint
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    told = subprocess.run(
        ["sh", "-c", f'. {path} && echo "$AWS_SECRET_ACCESS_KEY" && command -v {Path(sys.executable).name}'],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.splitlines() == ["it's a secret", sys.executable]
