"""Values as lines of JSON, for programs that read what a command writes.

Owns how names get through: whole, as the system has them, and harmless on a terminal. Not here: which lines there are.
"""

from __future__ import annotations

import json
import sys

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError


def json_line(value: BaseModel, *, with_nulls: bool = False) -> str:
    """One line without its end, and without fields that are None unless `with_nulls`.

    A name that is not UTF-8 has its bytes as lone surrogates, as `os.fsdecode` gives them: `json.loads` and
    `os.fsencode` bring them back. What a terminal would obey, or could not show, is escaped.
    """
    try:
        line = value.model_dump_json(exclude_none=not with_nulls)
    except (PydanticSerializationError, UnicodeEncodeError):
        line = ""
    if line and line.isprintable() and (line.isascii() or _is_utf8(sys.stdout.encoding)):
        return line
    return json.dumps(value.model_dump(mode="python", exclude_none=not with_nulls), default=_text)


def _is_utf8(encoding: str | None) -> bool:
    return encoding is None or encoding.lower().replace("-", "") == "utf8"


def _text(value: object) -> str:
    """As pydantic writes them: moments in ISO 8601 with a Z."""
    return value.isoformat().replace("+00:00", "Z") if hasattr(value, "isoformat") else str(value)
