"""The types of settings that several sections have.

Owns what they accept. Not here: the settings (`config`, `watch.rules`).
"""

from __future__ import annotations

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
