"""Which files are meant, and which of them allowed: what `[select]` and `[accept]` say to `upload` and the console.

A `[[watch]]` table has the same keys for its folder (`watch_rules`). What patterns match is in `files.patterns`, how
files are judged in `files.file_filter` and `files.acceptance`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from console.settings.types import MediaTypes, Patterns, Since, Size, Suffixes


class SelectSettings(BaseModel):
    """Which files below a folder, or of those named, are meant. Sizes in bytes, both bounds outside the range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    include: Patterns = ()
    exclude: Patterns = ()
    ignore_temporary: bool = False
    follow_symlinks: bool = False
    newer: Since | None = None
    larger: Annotated[Size, Field(ge=0)] | None = None
    smaller: Annotated[Size, Field(ge=0)] | None = None


class AcceptSettings(BaseModel):
    """What is refused of the files that are meant, and told as refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    extensions: Suffixes = ()
    content_types: MediaTypes = ()
    max_size: Annotated[Size, Field(ge=0)] | None = None
