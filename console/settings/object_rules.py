"""How objects are kept, in every place where that can be said: `[s3]`, `[[headers]]` by pattern, `[[watch]]`.

This module has the keys and what is wrong with wrong values; the headers that they become are in `s3/client.py`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from console.choices import Acl, Preserved
from console.settings.types import LIST, Patterns, absolute

if TYPE_CHECKING:
    from console.models import Storage

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+/[!#$%&'*+.^_`|~0-9A-Za-z-]+(\s*;.*)?")

_RECIPIENT: Final = re.compile(r"age1[02-9ac-hj-np-z]{58}|ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]+(?: .*)?")


def _header(value: str) -> str:
    if not value or not value.isascii() or not value.isprintable():
        raise ValueError("expected the value of a header: printable ASCII characters")
    return value


def _content_type(value: str) -> str:
    if not _NAME.fullmatch(_header(value)):
        raise ValueError("expected a MIME type such as text/html; charset=utf-8")
    return value


def _distinct(names: tuple[Preserved, ...]) -> tuple[Preserved, ...]:
    return tuple(dict.fromkeys(names))


def _recipient(text: str) -> str:
    if not _RECIPIENT.fullmatch(text.strip()):
        raise ValueError("expected a recipient of age: age1…, or a public key of SSH, ssh-ed25519 AAAA…")
    return text.strip()


def _text_of_path(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _key_file(path: str) -> str:
    return absolute(os.path.expanduser(path))  # noqa: PTH111 - names stay as they were typed


def _account(number: str) -> str:
    if not re.fullmatch(r"\d{12}", number):
        raise ValueError("expected the number of an AWS account: 12 digits")
    return number


def _in_a_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


HeaderValue = Annotated[str, AfterValidator(_header)]
ContentType = Annotated[str, AfterValidator(_content_type)]
Preserve = Annotated[tuple[Preserved, ...], *LIST, AfterValidator(_distinct)]
Recipients = Annotated[tuple[Annotated[str, AfterValidator(_recipient)], ...], *LIST]
KeyFile = Annotated[str, BeforeValidator(_text_of_path), AfterValidator(_key_file)]
Account = Annotated[str, AfterValidator(_account)]
LockDays = Annotated[int, Field(ge=1, le=36_500)]


class HeaderRule(BaseModel):
    """What the objects of some files are told: those of the `pattern`, as in .gitignore. The last rule wins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pattern: Annotated[Patterns, BeforeValidator(_in_a_list)]
    content_type: ContentType | None = None
    cache_control: HeaderValue | None = None
    content_disposition: HeaderValue | None = None
    content_encoding: HeaderValue | None = None
    content_language: HeaderValue | None = None
    storage_class: HeaderValue | None = None
    acl: Acl | None = None
    metadata: dict[str, str] | None = None
    tags: dict[str, str] | None = None

    @property
    def storage(self) -> Storage:
        """What of it a document says of its object."""
        from console.models import Storage  # brings BSON, and every start reads a configuration

        told = self.model_dump(exclude_none=True, exclude={"pattern", "content_type"})
        return Storage(**told)


HeaderRules = Annotated[tuple[HeaderRule, ...], Field(strict=False)]


def beneath(rules: tuple[HeaderRule, ...], told: Mapping[str, Any]) -> tuple[HeaderRule, ...]:
    """The rules without what a stronger place says of the same keys: a flag, or the `[[watch]]` table itself."""
    return tuple(rule.model_copy(update=_hidden(rule, told)) for rule in rules)


def _hidden(rule: HeaderRule, told: Mapping[str, Any]) -> dict[str, Any]:
    hidden: dict[str, Any] = {}
    for name, value in told.items():
        before = getattr(rule, name, None) if value is not None else None
        if isinstance(before, dict):  # metadata and tags: one by one
            hidden[name] = {each: text for each, text in before.items() if each not in value} or None
        elif before is not None:
            hidden[name] = None
    return hidden


def lock_is_whole(mode: str | None, days: int | None) -> bool:
    """Retention is a mode and a time: S3 takes neither alone."""
    return (mode is None) == (days is None)


LOCK_IS_HALF: Final = "object_lock_mode and object_lock_days go together: how long, and who may shorten it"
