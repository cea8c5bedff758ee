"""The lowest versions that pyproject.toml allows, as constraints for pip: what is declared has to work."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
for requirement in project["dependencies"] + project["optional-dependencies"]["embedded"]:
    name, version, marker = re.fullmatch(r"([\w-]+)[>=]=([\d.]+)[^;]*(;.*)?", requirement).groups()
    print(f"{name}=={version}{marker or ''}")
