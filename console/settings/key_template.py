"""Object keys: made from a template and a file, and fit for every S3 server.

Owns the template's fields, the rules for keys, and how a destination is written. Pure, and apart from `transfer`:
settings are checked with it.

Amazon's rules: UTF-8, at most 1,024 bytes (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
Stricter here, as other servers are: no empty, `.` or `..` segment, no slash at either end, nothing that XML 1.0 cannot
carry, since every listing is XML.
"""

from __future__ import annotations

import os
import posixpath
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

from console.errors import ConfigurationError, ConsoleError
from console.formatting import visible

MAX_KEY_BYTES: Final = 1024

_FIELDS: Final = {
    "prefix": "s3.prefix",
    "relative_path": "path below the folder that was chosen",
    "parent": "the folders of relative_path",
    "filename": "name of the file",
    "stem": "name without its last suffix",
    "suffix": "last suffix with its dot",
    "host": "name of this host",
    "size": "bytes",
    "date": "now, as {date:%Y/%m/%d}, in UTC",
    "mtime": "time of the last change, as {mtime:%Y/%m/%d}, in UTC",
}
_TIMES: Final = frozenset({"date", "mtime"})
_PLAIN_TIME: Final = "%Y-%m-%d"

# What boto3 takes for a bucket (botocore.handlers.VALID_BUCKET), or the ARN of an access point with its name after a
# colon; with a slash before the name nobody could tell where the prefix begins.
_DESTINATION: Final = re.compile(r"s3://([A-Za-z0-9._-]{1,255}|arn:[^/\s]+)(?:/(.*))?", re.DOTALL | re.IGNORECASE)

# Control characters, surrogates (bytes that are no UTF-8, PEP 383) and non-characters: XML 1.0, section 2.2.
_NOT_IN_XML: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# What such a character becomes, where it stands in a name as it is; so the names `n%FF` and n with the byte FF keep
# keys of their own, and `100%` and `a%20b` stay as they are.
_LOOKS_ESCAPED: Final = re.compile("%(?=[01][0-9A-F]|25|7F|[89A-F][0-9A-F])")


class KeyRefused(ConsoleError):
    """No valid key can be made for a file."""

    title = "Key"


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What a template may use of one file. `relative_path` with `/`; size in bytes, mtime in nanoseconds."""

    relative_path: str
    size: int
    mtime_ns: int
    host: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class KeyTemplate:
    """A template such as `{prefix}/{date:%Y/%m/%d}/{relative_path}`. Make it with `parse`."""

    _pieces: tuple[tuple[str, str | None, str], ...]

    @classmethod
    def parse(cls, text: str, origin: str = "transfer.key_template") -> Self:
        """Read a template. `origin` names the setting in messages.

        Raises:
            ConfigurationError: an unknown field, a wrong format, or braces that do not match.
        """
        try:
            parsed = list(string.Formatter().parse(text))
        except ValueError as error:
            raise ConfigurationError(f"{origin}: {visible(text)}: {error}") from None
        pieces: list[tuple[str, str | None, str]] = []
        for literal, field, form, conversion in parsed:
            _check_field(field, form or "", conversion, f"{origin}: {visible(text)}")
            pieces.append((literal, field, form or ""))
        if not any(field for _, field, _ in pieces):
            raise ConfigurationError(f"{origin}: {visible(text)}: without a field every file would get the same key")
        return cls(tuple(pieces))

    def beginning(self, prefix: str) -> str:
        """What the keys of all files begin with: `team/` where the template makes the prefix a folder, for `team-b/…`
        is a neighbour's."""
        begun = ""
        for literal, field, _ in self._pieces:
            begun += literal
            if field == "prefix":
                begun += prefix
            elif field is not None:
                break
        segments = "/".join(segment for segment in begun.split("/") if segment)
        return f"{segments}/" if segments and begun.endswith("/") else segments

    def key(self, facts: KeyFacts, now: datetime | None = None) -> str:
        """The key of a file.

        Raises:
            KeyRefused: it would be empty, too long, or lead upwards; or the date of the file cannot be written.
        """
        text = ""
        for literal, field, form in self._pieces:
            text += literal
            if field == "date":
                text += (now or datetime.now(UTC)).astimezone(UTC).strftime(form or _PLAIN_TIME)
            elif field == "mtime":
                text += _moment(facts.mtime_ns).strftime(form or _PLAIN_TIME)
            elif field is not None:
                text += _VALUES[field](facts)
        return clean_key(text)

    @property
    def keeps_paths_apart(self) -> bool:
        """Whether two files with different relative paths always get different keys."""
        fields = [field for _, field, _ in self._pieces if field not in (None, "prefix", "host")]
        return fields == ["relative_path"]


def parse_destination(url: str) -> tuple[str, str]:
    """Bucket and prefix of `s3://bucket/prefix`; the prefix without slashes at its ends, empty if there is none.

    Raises:
        ValueError: it is something else; the message says what was expected.
    """
    found = _DESTINATION.fullmatch(url)
    if found is None:
        raise ValueError("expected s3://bucket or s3://bucket/prefix")
    return found[1], (found[2] or "").strip("/")


def clean_key(text: str) -> str:
    """A valid key: bytes that are no UTF-8 and control characters as %XX, no empty segments.

    Raises:
        KeyRefused: it would be empty, too long, or holds `.` or `..`.
    """
    plain = text if _is_plain(text) else _NOT_IN_XML.sub(_percent, text)
    segments = [segment for segment in plain.split("/") if segment]
    if not segments:
        raise KeyRefused(f"{visible(repr(text))} gives an empty key")
    if any(segment in (".", "..") for segment in segments):
        raise KeyRefused(f"{visible(text)}: a key may not hold the segments . and ..")
    key = "/".join(segments)
    length = len(key.encode())
    if length > MAX_KEY_BYTES:
        raise KeyRefused(f"the key would have {length} bytes, S3 takes {MAX_KEY_BYTES}: {visible(key)}")
    return key


def _escaped(name: str) -> str:
    """A name so that no other one becomes the same key."""
    return name if _is_plain(name) and "%" not in name else _NOT_IN_XML.sub(_percent, _LOOKS_ESCAPED.sub("%25", name))


_ESCAPED: Final = re.compile(rb"%([01][0-9A-F]|25|7F|[89A-F][0-9A-F])")


def name_of(key: str) -> str:
    """The name, as the system has it, of which `{relative_path}` makes this key."""
    raw = _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), key.encode("utf-8", "surrogateescape"))
    return os.fsdecode(raw)


def _is_plain(text: str) -> bool:
    """Of most names two quick looks tell that nothing has to be escaped."""
    return text.isascii() and text.isprintable()


def _percent(match: re.Match[str]) -> str:
    code = ord(match.group())
    if 0xDC80 <= code <= 0xDCFF:
        return f"%{code - 0xDC00:02X}"
    return "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "surrogatepass"))


def _check_field(field: str | None, form: str, conversion: str | None, where: str) -> None:
    if field is None:
        return
    if field not in _FIELDS:
        raise ConfigurationError(
            f"{where}: unknown field {{{visible(field)}}}",
            advice="Fields: " + ", ".join(f"{{{name}}} ({meaning})" for name, meaning in _FIELDS.items()),
        )
    if conversion:
        raise ConfigurationError(f"{where}: {{{field}!{conversion}}}: conversions are not known here")
    if field not in _TIMES and form:
        raise ConfigurationError(f"{where}: {{{field}:{visible(form)}}}: only {{date}} and {{mtime}} take a format")
    if form and "%" not in form:
        raise ConfigurationError(f"{where}: {{{field}:{visible(form)}}}: expected a format such as %Y/%m/%d")


def _filename(facts: KeyFacts) -> str:
    return facts.relative_path.rpartition("/")[2]


_VALUES: Final[Mapping[str, Callable[[KeyFacts], str]]] = {
    "prefix": lambda facts: facts.prefix,
    "relative_path": lambda facts: _escaped(facts.relative_path),
    "parent": lambda facts: _escaped(posixpath.dirname(facts.relative_path)),
    "filename": lambda facts: _escaped(_filename(facts)),
    "stem": lambda facts: _escaped(posixpath.splitext(_filename(facts))[0]),
    "suffix": lambda facts: _escaped(posixpath.splitext(_filename(facts))[1]),
    "host": lambda facts: facts.host,
    "size": lambda facts: str(facts.size),
}
"""What stands for a field, computed only where a template has it: there may be a million files."""


def _moment(mtime_ns: int) -> datetime:
    try:
        return datetime.fromtimestamp(mtime_ns // 1_000_000_000, UTC)
    except (ValueError, OverflowError, OSError):
        raise KeyRefused("the file's date lies outside the years 1 to 9999, and its key is made from it") from None
