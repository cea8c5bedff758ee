"""Settings: which there are, and where they come from.

A TOML file, then environment variables `UPLOAD_CONSOLE_<SECTION>__<KEY>`, then command-line flags; the later is the
stronger. Not here: what is said about a wrong one (`complaints`), credentials for S3 (boto3's own chain finds them)
and the connections made from the settings.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

from console.choices import (
    GIBIBYTE,
    MEBIBYTE,
    MOST_PARALLEL,
    AddressingStyle,
    ChecksumPolicy,
    DuplicatePolicy,
    Encryption,
    EngineChoice,
)
from console.complaints import Layer, complaint
from console.errors import ConfigurationError
from console.formatting import visible
from console.setting_types import Count, Number, Size
from console.watch.rules import WatchRule, WatchRules

ENVIRONMENT_PREFIX: Final = "UPLOAD_CONSOLE_"
FILE_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
FILE_NAME: Final = "config.toml"
_LONGEST_SECONDS: Final = 3600.0
_LONGEST_OUTAGE_SECONDS: Final = 7 * 24 * 3600.0


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ValueError("expected an address such as https://s3.example.com:9000")
    if "@" in parts.netloc:
        raise ValueError("expected an address without user and password: boto3 finds credentials elsewhere")
    return url


def _database_name(name: str) -> str:
    if any(character in '/\\. "$*<>:|?\0' for character in name) or len(name.encode("utf-8", "replace")) > 63:
        raise ValueError('expected a database name: at most 63 bytes, none of / \\ . " $ * < > : | ? and no space')
    return name


def _collection_name(name: str) -> str:
    if "$" in name or "\0" in name or ".." in name or name.startswith((".", "system.")) or name.endswith("."):
        raise ValueError("expected a collection name: no $, no dot at its ends or twice, not beginning with system.")
    return name


def _none_if_auto(value: object) -> object:
    return None if value == "auto" else value


Seconds = Annotated[Number, Field(gt=0, le=_LONGEST_SECONDS)]
# S3 user guide, "Amazon S3 multipart upload limits": parts of 5 MiB to 5 GiB, one PutObject of at most 5 GiB.
PartSize = Annotated[Size, Field(ge=5 * MEBIBYTE, le=5 * GIBIBYTE)]


Parallel = Annotated[Count, Field(ge=1, le=MOST_PARALLEL)]


class MongoSettings(_Section):
    """Where the records are. `uri` as PyMongo takes it, TLS and authentication included."""

    uri: SecretStr = SecretStr("mongodb://localhost:27017")
    database: Annotated[str, Field(min_length=1), AfterValidator(_database_name)] = "upload_console"
    collection: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_collection_name)] = "uploads"
    timeout_seconds: Seconds = 10.0


class S3Settings(_Section):
    """Where the objects go, and how they are kept there. `endpoint_names`: addresses that lead to one S3 service have
    one name there, under which records know it; any other address is a name by itself."""

    bucket: str = ""
    prefix: str = ""
    endpoint_url: Annotated[str, AfterValidator(_http_url)] | None = None
    region: str | None = None
    profile: str | None = None
    addressing_style: AddressingStyle = "auto"
    ca_bundle: Path | None = None
    storage_class: str | None = None
    server_side_encryption: Encryption | None = None
    kms_key_id: str | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    endpoint_names: dict[str, str] = Field(default_factory=dict)


class TransferSettings(_Section):
    """How bytes are sent. Sizes in bytes or as `8 MiB`; `bandwidth_limit` a second, 0 for none; `part_size` None as the
    file's size suggests; `parallel_…` None as turns out best."""

    key_template: str = "{prefix}/{relative_path}"
    parallel_uploads: Annotated[Parallel | None, BeforeValidator(_none_if_auto)] = None
    parallel_parts: Annotated[Parallel | None, BeforeValidator(_none_if_auto)] = None
    part_size: Annotated[PartSize | None, BeforeValidator(_none_if_auto)] = None
    multipart_threshold: Size = Field(ByteSize(16 * MEBIBYTE), ge=0, le=5 * GIBIBYTE)
    bandwidth_limit: Size = Field(ByteSize(0), ge=0)
    checksum: ChecksumPolicy = "auto"
    engine: EngineChoice = "auto"
    duplicates: DuplicatePolicy = "overwrite"
    retries: Count = Field(8, ge=0, le=100)
    outage_seconds: Annotated[Number, Field(ge=0, le=_LONGEST_OUTAGE_SECONDS)] = 3600.0
    connect_timeout_seconds: Seconds = 10.0
    read_timeout_seconds: Seconds = 60.0


class UiSettings(_Section):
    """The full-screen console."""

    directory: Path | None = None
    theme: str = "console-dark"
    show_hidden: bool = False
    event_buffer: Count = Field(100_000, ge=100, le=10_000_000)


class Settings(_Section):
    """All settings. Unknown keys are errors."""

    mongodb: MongoSettings = MongoSettings()
    s3: S3Settings = S3Settings()
    transfer: TransferSettings = TransferSettings()
    ui: UiSettings = UiSettings()
    watch: WatchRules = ()


_SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "mongodb": MongoSettings,
    "s3": S3Settings,
    "transfer": TransferSettings,
    "ui": UiSettings,
    "watch": WatchRule,
}
_FLAGS: Final[Mapping[tuple[str, ...], str]] = {
    ("mongodb", "uri"): "--mongodb-uri",
    ("s3", "endpoint_url"): "--s3-endpoint",
    ("s3", "bucket"): "--bucket",
}


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
        layers.insert(0, Layer(visible(str(file)), _read(Path(file))))
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer.values)
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(
            "\n".join(complaint(detail, layers, _SECTIONS) for detail in error.errors(include_url=False)),
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


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    values: dict[str, Any] = {}
    names: dict[tuple[str, ...], str] = {}
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE:
            steps = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            _put(values, steps, value, visible(name))
            names[steps] = visible(name)
    return Layer("environment", values, names, ENVIRONMENT_PREFIX)


def _flag_layer(flags: Mapping[str, Any]) -> Layer:
    values: dict[str, Any] = {}
    for key, value in flags.items():
        if value is not None:
            _put(values, tuple(key.split(".")), value, key)
    return Layer("command line", values, _FLAGS)


def _put(values: dict[str, Any], steps: tuple[str, ...], value: Any, name: str) -> None:
    for step in steps[:-1]:
        values = values.setdefault(step, {})
        if not isinstance(values, dict):
            raise ConfigurationError(f"{name}: unknown key: {'.'.join(steps[:-1])} is set too, and is no table")
    values[steps[-1]] = value


def _merge(into: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = _copied(value)


def _copied(value: Any) -> Any:
    return {key: _copied(inner) for key, inner in value.items()} if isinstance(value, dict) else value
