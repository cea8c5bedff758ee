"""Settings: which there are, where they come from, and what is said about a wrong one.

A TOML file, then environment variables `UPLOAD_CONSOLE_<SECTION>__<KEY>`, then command-line flags; the later is the
stronger. Not here: credentials for S3 (boto3's own chain finds them) and the connections made from the settings.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import platformdirs
from pydantic import AfterValidator, BaseModel, ByteSize, ConfigDict, Field, SecretStr, ValidationError

from console.errors import ConfigurationError
from console.formatting import visible
from console.watch.rules import WatchRule

ENVIRONMENT_PREFIX: Final = "UPLOAD_CONSOLE_"
FILE_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
FILE_NAME: Final = "config.toml"
MEBIBYTE: Final = 1024 * 1024


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _http_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address such as https://s3.example.com:9000")
    return url


class MongoSettings(_Section):
    """Where the records are. `uri` as PyMongo takes it, TLS and authentication included."""

    uri: SecretStr = SecretStr("mongodb://localhost:27017")
    database: str = Field("upload_console", min_length=1, max_length=63)
    collection: str = Field("uploads", min_length=1, max_length=200)
    timeout_seconds: float = Field(10.0, gt=0)


class S3Settings(_Section):
    """Where the objects go, and how they are kept there."""

    bucket: str = ""
    prefix: str = ""
    endpoint_url: Annotated[str, AfterValidator(_http_url)] | None = None
    region: str | None = None
    profile: str | None = None
    addressing_style: Literal["auto", "path", "virtual"] = "auto"
    ca_bundle: Path | None = None
    storage_class: str | None = None
    server_side_encryption: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    kms_key_id: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)


class TransferSettings(_Section):
    """How bytes are sent. Sizes in bytes or as `8 MiB`; `bandwidth_limit` a second, 0 for none."""

    key_template: str = "{prefix}/{relative_path}"
    parallel_uploads: int = Field(4, ge=1, le=256)
    parallel_parts: int = Field(8, ge=1, le=256)
    part_size: ByteSize = Field(ByteSize(8 * MEBIBYTE), ge=5 * MEBIBYTE)
    multipart_threshold: ByteSize = Field(ByteSize(16 * MEBIBYTE), ge=0)
    bandwidth_limit: ByteSize = ByteSize(0)
    checksum: Literal["auto", "crc64nvme", "crc32c", "crc32", "sha256", "md5"] = "auto"
    duplicates: Literal["overwrite", "skip_identical", "new_name", "fail"] = "overwrite"
    retries: int = Field(8, ge=0, le=100)
    connect_timeout_seconds: float = Field(10.0, gt=0)
    read_timeout_seconds: float = Field(60.0, gt=0)


class UiSettings(_Section):
    """The full-screen console."""

    directory: Path | None = None
    theme: str = "console-dark"
    show_hidden: bool = False
    event_buffer: int = Field(100_000, ge=100, le=10_000_000)


class Settings(_Section):
    """All settings. Unknown keys are errors."""

    mongodb: MongoSettings = MongoSettings()
    s3: S3Settings = S3Settings()
    transfer: TransferSettings = TransferSettings()
    ui: UiSettings = UiSettings()
    watch: tuple[WatchRule, ...] = ()


_SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "mongodb": MongoSettings,
    "s3": S3Settings,
    "transfer": TransferSettings,
    "ui": UiSettings,
    "watch": WatchRule,
}


@dataclass(frozen=True, slots=True)
class _Layer:
    origin: str
    values: dict[str, Any]


def user_file() -> Path:
    """The person's own configuration file, whether it exists or not."""
    return platformdirs.user_config_path("upload-console") / FILE_NAME


def find_file(named: Path | None) -> Path | None:
    """The configuration file: the one named by flag or variable, `./config.toml`, the person's own, or none."""
    if named is not None:
        return named
    return next((path for path in (Path(FILE_NAME), user_file()) if path.is_file()), None)


def load(file: Path | str | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Settings:
    """Settings from a file (or none), the environment and flags.

    `flags` maps dotted keys (`s3.bucket`) to values; None means the flag was not given.

    Raises:
        ConfigurationError: the file cannot be read, or a key is unknown or has a wrong value.
    """
    layers = [_environment_layer(environment), _flag_layer(flags)]
    if file is not None:
        layers.insert(0, _Layer(visible(str(file)), _read(Path(file))))
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer.values)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(
            "\n".join(_complaint(detail, layers) for detail in error.errors(include_url=False)),
            advice="config.example.toml explains every setting.",
        ) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigurationError(f"{visible(str(file))}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{visible(str(file))}: not TOML: {error}") from None


def _environment_layer(environment: Mapping[str, str]) -> _Layer:
    values: dict[str, Any] = {}
    for name, value in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE:
            _put(values, name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"), value)
    return _Layer("environment", values)


def _flag_layer(flags: Mapping[str, Any]) -> _Layer:
    values: dict[str, Any] = {}
    for key, value in flags.items():
        if value is not None:
            _put(values, key.split("."), value)
    return _Layer("command line", values)


def _put(values: dict[str, Any], steps: list[str], value: Any) -> None:
    for step in steps[:-1]:
        inner = values.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        values = inner
    values[steps[-1]] = value


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = _copied(value)


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _complaint(detail: Any, layers: list[_Layer]) -> str:
    loc: tuple[str | int, ...] = detail["loc"]
    origin = next((layer.origin for layer in reversed(layers) if _has(layer.values, loc)), "settings")
    key = visible(".".join(str(step) for step in loc))
    if detail["type"] == "extra_forbidden":
        return f"{origin}: {key}: unknown key{_suggestion(loc)}"
    given = "" if _is_secret(loc) or detail["type"] == "missing" else f" (got {visible(repr(detail['input']))})"
    return f"{origin}: {key}: {detail['msg'].removeprefix('Value error, ')}{given}"


def _has(values: Any, loc: tuple[str | int, ...]) -> bool:
    """Whether a layer speaks of the place, or, for a key that is missing, of the table around it."""
    for depth, step in enumerate(loc):
        try:
            values = values[step]
        except (KeyError, IndexError, TypeError):
            return depth == len(loc) - 1 and depth > 1
    return True


def _is_secret(loc: tuple[str | int, ...]) -> bool:
    return loc[:2] == ("mongodb", "uri")


def _suggestion(loc: tuple[str | int, ...]) -> str:
    known = sorted(_known_keys(loc[:-1]))
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _known_keys(loc: tuple[str | int, ...]) -> Iterator[str]:
    if not loc:
        return iter(Settings.model_fields)
    section = _SECTIONS.get(str(loc[0]))
    return iter(section.model_fields if section is not None else ())
