"""The types of settings that several sections have.

This module says what they accept; the settings themselves are in `settings/__init__.py` and `watch_rules`.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, ByteSize
from pydantic_core import PydanticKnownError


def _no_bool(value: Any) -> Any:
    """Python counts true as 1; a person who writes it for a number means something else."""
    if isinstance(value, bool):
        raise PydanticKnownError("int_type")
    return value


Number = Annotated[float, BeforeValidator(_no_bool)]
Count = Annotated[int, BeforeValidator(_no_bool)]
Size = Annotated[ByteSize, BeforeValidator(_no_bool)]
"""Bytes, as a number or as text such as 8MiB."""


def absolute(path: str) -> str:
    """The path from the root, so that it means what it means to the system: `link/../f` is beside what the link leads
    to. Names are as they were typed, but for those before a `..`.
    """
    steps = path.split("/")
    if ".." in steps:
        behind = len(steps) - steps[::-1].index("..")
        path = "/".join([os.path.realpath("/".join(steps[:behind])), *steps[behind:]])
    return os.path.abspath(path)  # noqa: PTH100 - a Path would lose nothing, but names stay as the system has them
