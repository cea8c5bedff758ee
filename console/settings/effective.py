"""Which values hold, and where each one comes from: file, environment, flag, or nowhere (the default).

Nothing that may be a secret is in a text that is made here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ByteSize, SecretStr

from console.formatting import visible
from console.settings import Settings

DEFAULT: Final = "default"
_EXAMPLE: Final = "config.example.toml"
_AUTO: Final = frozenset({"parallel_uploads", "parallel_parts", "part_size"})  # None stands for it
_USER: Final = re.compile(r"[^:@/?]*")
_OPTION: Final = re.compile(r"([?&])([A-Za-z]+)=([^&]*)")
# Options of a connection string that hold no secret; of any other the value is not shown.
_HARMLESS: Final = frozenset(
    {
        "authsource",
        "authmechanism",
        "replicaset",
        "tls",
        "ssl",
        "directconnection",
        "readpreference",
        "w",
        "retrywrites",
    }
    | {"tlscafile", "appname", "loadbalanced", "retryreads", "maxpoolsize", "compressors", "readconcernlevel"}
    | {"serverselectiontimeoutms", "connecttimeoutms", "sockettimeoutms", "tlsinsecure", "tlsallowinvalidhostnames"}
)


@dataclass(frozen=True, slots=True)
class Effective:
    """One setting: `key` as people write it (`s3.bucket`, `watch[0].folder`), `value` as TOML has it, "" for unset."""

    key: str
    value: str
    origin: str


def effective(settings: Settings) -> Iterator[Effective]:
    """All settings, in the order of the example; of watches those that are set."""
    for section, value in settings:
        if isinstance(value, BaseModel):
            yield from _of_section(settings, (section,), value)
        elif isinstance(value, tuple):
            for number, rule in enumerate(value):
                yield from _of_section(settings, (section, number), rule)


def setting_lines(settings: Settings) -> list[tuple[str, str]]:
    """The same as labels and values, a table after the other, for a screen."""
    lines: list[tuple[str, str]] = []
    table = ""
    for each in effective(settings):
        section, _, name = each.key.rpartition(".")
        lines.append(
            (section if section != table else "", visible(f"{name} = {each.value or 'unset'}  ({each.origin})"))
        )
        table = section
    return lines


def _of_section(settings: Settings, at: tuple[str | int, ...], section: BaseModel) -> Iterator[Effective]:
    name = "".join(f"[{step}]" if isinstance(step, int) else step for step in at)
    for field, value in section:
        origin = settings.origin_of((*at, field))
        if len(at) > 1 and origin is None:
            continue
        if at == ("mongodb",) and field == "uri" and (named := getattr(section, "uri_file", None)) is not None:
            origin = str(named)
        shown = '"auto"' if value is None and field in _AUTO else _toml(value)
        yield Effective(f"{name}.{field}", shown, origin or DEFAULT)


def _toml(value: Any) -> str:
    """A value as TOML has it; "" for what is not set."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return json.dumps(without_password(value.get_secret_value()), ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, ByteSize):
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple | set | frozenset):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    if isinstance(value, BaseModel):
        return _toml(value.model_dump(exclude_none=True))
    return json.dumps(str(value.value if isinstance(value, Enum) else value), ensure_ascii=False)


def without_password(uri: str) -> str:
    """A connection string without its password, and without options that may hold another one.

    What is before the last `@` may be part of a password that has an `@`, `/` or `?` of its own.
    """
    scheme, mark, rest = uri.partition("://")
    credentials, at, place = rest.rpartition("@")
    if not mark or "@" in scheme:  # no connection string at all
        return "…"
    user = _USER.match(credentials)
    shown = user[0] if user is not None else ""
    hidden = ":…" if len(shown) < len(credentials) else ""

    def option(match: re.Match[str]) -> str:
        shown = match[3] if match[2].casefold() in _HARMLESS else "…"
        return f"{match[1]}{match[2]}={shown}"

    return f"{scheme}{mark}{shown}{hidden}{at}{_OPTION.sub(option, place)}"


def example_text() -> str:
    """`config.example.toml`, which explains every setting: it comes with the package, or lies beside its sources."""
    packaged = files("console").joinpath(_EXAMPLE)
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    return (Path(__file__).parents[2] / _EXAMPLE).read_text(encoding="utf-8")
