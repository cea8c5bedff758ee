"""The flags of `upload` that are settings too: each has the name and the meaning of its key in the configuration.

Owns what they are called and say. Which key each one overrides is in `SETTING_FLAGS`; flags without a key are in
`cli.flags`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer


class SettingFlags:
    """Those that were given, by the keys that they override."""

    def __init__(self, **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None and value != []}
        self.overrides: Mapping[str, Any] = {
            SETTING_FLAGS[name][0]: _READ.get(name, _as_it_is)(value) for name, value in given.items()
        }


def _as_it_is(value: Any) -> Any:
    return value


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if not all(name and equals for name, equals, _ in pairs):
        raise typer.BadParameter("expected NAME=VALUE", param_hint="--metadata, --tags, --kms-context")
    return {name: value for name, _, value in pairs}


def _header_rules(texts: list[str]) -> list[dict[str, Any]]:
    """`Cache-Control: no-cache` for all files, `*.html Cache-Control: no-cache` for some, as `[[headers]]` has them."""
    rules: list[dict[str, Any]] = []
    for text in texts:
        left, colon, value = text.partition(": ")
        pattern, _, name = left.rpartition(" ")
        key = name.lower().removeprefix("x-amz-").replace("-", "_")
        if not colon or not name or key == "pattern":
            raise typer.BadParameter(
                f"{text!r}: expected 'NAME: VALUE' or 'PATTERN NAME: VALUE'", param_hint="--header"
            )
        told = (
            {"metadata": {key.removeprefix("meta_").replace("_", "-"): value}}
            if key.startswith("meta_")
            else {key: value}
        )
        rules.append({"pattern": [pattern or "*"], **told})
    return rules


_READ: Final = {"metadata": _pairs, "tags": _pairs, "kms_context": _pairs, "header": _header_rules}


def _texts(flag: str, help_text: str, metavar: str) -> Any:
    return Annotated[list[str] | None, typer.Option(flag, help=help_text, metavar=metavar)]


def _text(flag: str, help_text: str, metavar: str) -> Any:
    return Annotated[str | None, typer.Option(flag, help=help_text, metavar=metavar)]


def _switch(flag: str, help_text: str) -> Any:
    # A title of their own: beside a column of `--no-…` other names would be cut in a terminal of 80 columns.
    return Annotated[bool | None, typer.Option(flag, help=help_text, rich_help_panel="On or off")]


SETTING_FLAGS: Final[Mapping[str, tuple[str, Any]]] = {
    "include": (
        "select.include",
        _texts("--include", "Only files of this pattern, as in .gitignore; may be repeated.", "PATTERN"),
    ),
    "exclude": (
        "select.exclude",
        _texts("--exclude", "No files of this pattern, as in .gitignore; may be repeated.", "PATTERN"),
    ),
    "newer": (
        "select.newer",
        _text("--newer", "Only files changed since then: a date, or an age such as 36h or 2d.", "WHEN"),
    ),
    "larger": ("select.larger", _text("--larger", "Only files larger than this.", "SIZE")),
    "smaller": ("select.smaller", _text("--smaller", "Only files smaller than this.", "SIZE")),
    "ignore_temporary": (
        "select.ignore_temporary",
        _switch("--ignore-temporary/--no-ignore-temporary", "Leave out hidden and temporary names."),
    ),
    "follow_symlinks": (
        "select.follow_symlinks",
        _switch("--follow-symlinks/--no-follow-symlinks", "Follow links below folders, wherever they lead."),
    ),
    "extensions": (
        "accept.extensions",
        _texts("--extensions", "Refuse files without this extension; may be repeated.", "EXT"),
    ),
    "content_types": (
        "accept.content_types",
        _texts("--content-types", "Refuse files of other types, judged by content; may be repeated.", "TYPE"),
    ),
    "header": (
        "headers",
        _texts(
            "--header",
            "A header of the objects: of all ('Cache-Control: no-cache'), or of those of a pattern ('*.html "
            "Cache-Control: no-cache'); may be repeated.",
            "HEADER",
        ),
    ),
    "cache_control": ("s3.cache_control", _text("--cache-control", "Cache-Control of the objects.", "VALUE")),
    "content_disposition": (
        "s3.content_disposition",
        _text("--content-disposition", "Content-Disposition of the objects.", "VALUE"),
    ),
    "content_encoding": (
        "s3.content_encoding",
        _text("--content-encoding", "Content-Encoding of the objects.", "VALUE"),
    ),
    "content_language": (
        "s3.content_language",
        _text("--content-language", "Content-Language of the objects.", "VALUE"),
    ),
    "storage_class": ("s3.storage_class", _text("--storage-class", "Storage class of the objects.", "CLASS")),
    "acl": ("s3.acl", _text("--acl", "A canned ACL, such as bucket-owner-full-control.", "ACL")),
    "metadata": ("s3.metadata", _texts("--metadata", "Metadata of the objects; may be repeated.", "NAME=VALUE")),
    "tags": ("s3.tags", _texts("--tags", "Tags of the objects; may be repeated.", "NAME=VALUE")),
    "preserve": (
        "s3.preserve",
        _texts(
            "--preserve",
            "Keep mtime, mode, owner or md5 as metadata, as rclone does; may be repeated.",
            "WHAT",
        ),
    ),
    "compress": ("s3.compress", _text("--compress", "Compress on the way: gzip, zstd or none.", "HOW")),
    "encrypt_to": (
        "s3.encrypt_to",
        _texts("--encrypt-to", "Encrypt on the way for this recipient of age; may be repeated.", "RECIPIENT"),
    ),
    "server_side_encryption": (
        "s3.server_side_encryption",
        _text("--server-side-encryption", "AES256, aws:kms or aws:kms:dsse.", "HOW"),
    ),
    "kms_key_id": ("s3.kms_key_id", _text("--kms-key-id", "The KMS key that encrypts.", "KEY")),
    "kms_context": (
        "s3.kms_context",
        _texts("--kms-context", "Encryption context of KMS; may be repeated.", "NAME=VALUE"),
    ),
    "sse_customer_key_file": (
        "s3.sse_customer_key_file",
        _text("--sse-customer-key-file", "Encrypt by the key in this file (SSE-C).", "FILE"),
    ),
    "object_lock_mode": (
        "s3.object_lock_mode",
        _text("--object-lock-mode", "GOVERNANCE or COMPLIANCE, with --object-lock-days.", "MODE"),
    ),
    "object_lock_days": (
        "s3.object_lock_days",
        Annotated[int | None, typer.Option("--object-lock-days", help="Keep objects so long.", metavar="DAYS")],
    ),
    "legal_hold": ("s3.legal_hold", _switch("--legal-hold/--no-legal-hold", "Put a legal hold on the objects.")),
    "requester_pays": (
        "s3.requester_pays",
        _switch("--requester-pays/--no-requester-pays", "This account pays for requests."),
    ),
    "expected_bucket_owner": (
        "s3.expected_bucket_owner",
        _text("--expected-bucket-owner", "Refuse a bucket of another account than this.", "ACCOUNT"),
    ),
    "delete_at_most_percent": (
        "transfer.delete_at_most_percent",
        Annotated[
            float | None,
            typer.Option(
                "--delete-at-most-percent", help="Of --delete: refuse a larger share of the objects.", metavar="N"
            ),
        ],
    ),
    "manifest": (
        "transfer.manifest",
        _text("--manifest", "At the end write a signed list of what was stored, here or into this folder.", "FILE"),
    ),
    "sha256sums": (
        "transfer.sha256sums",
        _text("--sha256sums", "At the end write checksums of the files as sha256sum does.", "FILE"),
    ),
    "start_at": ("schedule.start_at", _text("--start-at", "Begin then: 22:00, or 2026-12-01T22:00.", "WHEN")),
    "between": ("schedule.between", _text("--between", "Only at these hours, such as 20:00-06:00.", "HOURS")),
    "bandwidth": (
        "schedule.bandwidth",
        _texts("--bandwidth", "Bytes a second: '5 MiB', or by hours '08:00-18:00 1 MiB'; may be repeated.", "RATE"),
    ),
    "slowest": ("schedule.slowest", _text("--slowest", "Give up an upload that is slower than so many bytes.", "RATE")),
    "slowest_seconds": (
        "schedule.slowest_seconds",
        Annotated[float | None, typer.Option("--slowest-seconds", help="For so long.", metavar="SECONDS")],
    ),
    "max_files": (
        "schedule.max_files",
        Annotated[int | None, typer.Option("--max-files", help="Stop after so many files.", metavar="N")],
    ),
    "max_bytes": ("schedule.max_bytes", _text("--max-bytes", "Stop before more bytes than these.", "SIZE")),
    "max_failures": (
        "schedule.max_failures",
        Annotated[int | None, typer.Option("--max-failures", help="Give up after so many failures.", metavar="N")],
    ),
    "max_size": ("accept.max_size", _text("--max-size", "Refuse larger files.", "SIZE")),
}

_PANELS: Final = {
    "select": "Which files",
    "accept": "Which files",
    "headers": "How objects are kept",
    "s3": "How objects are kept",
    "schedule": "When, how fast, how many",
    "transfer": "Afterwards",
}
"""Under which title of `--help` the flags of a section stand."""
for _key, _annotation in SETTING_FLAGS.values():
    _option = _annotation.__metadata__[0]
    _option.rich_help_panel = _option.rich_help_panel or _PANELS[_key.partition(".")[0]]
