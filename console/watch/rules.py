"""What a `[[watch]]` table says about one folder.

Owns the rule as a setting. Not here: seeing files come to rest, or what was already sent.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class WatchRule(BaseModel):
    """One watched folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path
