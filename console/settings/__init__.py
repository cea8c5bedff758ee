"""Settings: which there are, and where they come from.

A TOML file, then environment variables `UPLOAD_CONSOLE_<SECTION>__<KEY>`, then command-line flags; the later is the
stronger. `messages` says what is wrong with a wrong one. Credentials for S3 are no settings: boto3's own chain finds
them. This room needs nothing but the modules of `console/` itself, and opens no connection.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from console.choices import (
    GIBIBYTE,
    MEBIBYTE,
    MOST_PARALLEL,
    Acl,
    AddressingStyle,
    ChecksumPolicy,
    Compression,
    DuplicatePolicy,
    Encryption,
    EngineChoice,
    LockMode,
)
from console.errors import ConfigurationError
from console.formatting import visible
from console.private_files import WrittenByOthers, opened_ours, others_may_read
from console.settings.messages import Layer, complaint
from console.settings.object_rules import (
    LOCK_IS_HALF,
    Account,
    HeaderRule,
    HeaderRules,
    HeaderValue,
    KeyFile,
    LockDays,
    Preserve,
    Recipients,
    lock_is_whole,
)
from console.settings.schedule import ScheduleSettings
from console.settings.types import LIST, Count, Number, Size
from console.settings.upload_rules import AcceptSettings, SelectSettings
from console.settings.watch_rules import DestinationUrl, Folder, WatchRule, WatchRules

ENVIRONMENT_PREFIX: Final = "UPLOAD_CONSOLE_"
FILE_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}CONFIG"
FILE_NAME: Final = "config.toml"
_LONGEST_SECONDS: Final = 3600.0
_PASSWORD: Final = re.compile(r"://[^@]*:[^@]*@")
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
    if "@" in url:
        raise ValueError("expected an address without user and password: boto3 finds credentials elsewhere")
    if parts.query or parts.fragment:
        raise ValueError("expected an address such as https://s3.example.com:9000, without ? and #")
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


def _auto_if_crt(value: object) -> object:
    """The Common Runtime sent bodies before 1.0."""
    return "auto" if value == "crt" else value


Seconds = Annotated[Number, Field(gt=0, le=_LONGEST_SECONDS)]
# S3 user guide, "Amazon S3 multipart upload limits": parts of 5 MiB to 5 GiB, one PutObject of at most 5 GiB.
PartSize = Annotated[Size, Field(ge=5 * MEBIBYTE, le=5 * GIBIBYTE)]


Parallel = Annotated[Count, Field(ge=1, le=MOST_PARALLEL)]
Roots = Annotated[tuple[Folder, ...], *LIST]
Destinations = Annotated[tuple[DestinationUrl, ...], *LIST]


class MongoSettings(_Section):
    """Where the records are. `uri` as PyMongo takes it, TLS and authentication included, or a file that holds it."""

    uri: SecretStr = SecretStr("mongodb://localhost:27017")
    uri_file: Path | None = None
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
    kms_context: dict[str, str] = Field(default_factory=dict)
    sse_customer_key_file: KeyFile | None = None
    metadata: dict[str, str] = Field(default_factory=dict)
    tags: dict[str, str] = Field(default_factory=dict)
    cache_control: HeaderValue | None = None
    content_disposition: HeaderValue | None = None
    content_encoding: HeaderValue | None = None
    content_language: HeaderValue | None = None
    acl: Acl | None = None
    object_lock_mode: LockMode | None = None
    object_lock_days: LockDays | None = None
    legal_hold: bool = False
    preserve: Preserve = ()
    compress: Compression = "none"
    encrypt_to: Recipients = ()
    requester_pays: bool = False
    expected_bucket_owner: Account | None = None
    endpoint_names: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_a_whole_lock(self) -> Self:
        if not lock_is_whole(self.object_lock_mode, self.object_lock_days):
            raise ValueError(LOCK_IS_HALF)
        return self


class TransferSettings(_Section):
    """How bytes are sent. Sizes in bytes or as `8 MiB`; `bandwidth_limit` a second, 0 for none; `part_size` None as the
    file's size suggests; `parallel_…` None as turns out best. `roots` and `destinations`: what may be sent, and where
    to, for others than this user."""

    key_template: str = "{prefix}/{relative_path}"
    parallel_uploads: Annotated[Parallel | None, BeforeValidator(_none_if_auto)] = None
    parallel_parts: Annotated[Parallel | None, BeforeValidator(_none_if_auto)] = None
    part_size: Annotated[PartSize | None, BeforeValidator(_none_if_auto)] = None
    multipart_threshold: Size = Field(ByteSize(16 * MEBIBYTE), ge=0, le=5 * GIBIBYTE)
    bandwidth_limit: Size = Field(ByteSize(0), ge=0)
    checksum: ChecksumPolicy = "auto"
    engine: Annotated[EngineChoice, BeforeValidator(_auto_if_crt)] = "auto"
    duplicates: DuplicatePolicy = "overwrite"
    retries: Count = Field(8, ge=0, le=100)
    outage_seconds: Annotated[Number, Field(ge=0, le=_LONGEST_OUTAGE_SECONDS)] = 3600.0
    connect_timeout_seconds: Seconds = 10.0
    read_timeout_seconds: Seconds = 60.0
    delete_at_most_percent: Annotated[Number, Field(ge=0, le=100)] = 25.0
    manifest: Path | None = None
    sha256sums: Path | None = None
    roots: Roots = ()
    destinations: Destinations = ()


class UiSettings(_Section):
    directory: Path | None = None
    theme: str = "console-dark"
    show_hidden: bool = False
    upload_sheet: bool = True
    event_buffer: Count = Field(100_000, ge=100, le=10_000_000)


class KeySettings(_Section):
    """Other keys of the console, by what they are called there. Which names there are, the screen knows."""

    files: dict[str, str] = Field(default_factory=dict)
    uploads: dict[str, str] = Field(default_factory=dict)
    events: dict[str, str] = Field(default_factory=dict)
    lists: dict[str, str] = Field(default_factory=dict)
    everywhere: dict[str, str] = Field(default_factory=dict)


class Settings(_Section):
    """All settings. Unknown keys are errors."""

    mongodb: MongoSettings = MongoSettings()
    s3: S3Settings = S3Settings()
    transfer: TransferSettings = TransferSettings()
    select: SelectSettings = SelectSettings()
    accept: AcceptSettings = AcceptSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    ui: UiSettings = UiSettings()
    keys: KeySettings = KeySettings()
    headers: HeaderRules = ()
    watch: WatchRules = ()

    @field_validator("watch", mode="after")
    @classmethod
    def _have_headers(cls, rules: tuple[WatchRule, ...], info: ValidationInfo) -> tuple[WatchRule, ...]:
        """`[[headers]]` are those of every watch that has none of its own."""
        headers = info.data.get("headers", ())
        return tuple(rule if rule.headers is not None else rule.with_headers(headers) for rule in rules)

    _file: Path | None = PrivateAttr(None)
    _remarks: tuple[str, ...] = PrivateAttr(())
    _layers: tuple[Layer, ...] = PrivateAttr(())

    def __eq__(self, other: object) -> bool:
        """Whether they say the same, wherever each was said."""
        return isinstance(other, Settings) and self.model_dump() == other.model_dump()

    def origin_of(self, location: tuple[str | int, ...]) -> str | None:
        """Where the value at that place comes from: a file, a variable or a flag; None for a default."""
        return next((layer.called(location) for layer in reversed(self._layers) if layer.holds(location)), None)

    @property
    def origin(self) -> str:
        """Where they were read, as people are told."""
        return visible(str(self._file)) if self._file is not None else "no file; environment, flags and defaults"

    @property
    def remarks(self) -> tuple[str, ...]:
        """What its owner should know about the files that were read."""
        return self._remarks

    @property
    def facts(self) -> Sequence[tuple[str, str]]:
        """What the list of keys says of them: titles and texts."""
        return [("Configuration", "\n".join((self.origin, *self.remarks)))]


_SECTIONS: Final[Mapping[str, type[BaseModel]]] = {
    "mongodb": MongoSettings,
    "s3": S3Settings,
    "transfer": TransferSettings,
    "select": SelectSettings,
    "accept": AcceptSettings,
    "schedule": ScheduleSettings,
    "ui": UiSettings,
    "keys": KeySettings,
    "watch": WatchRule,
    "headers": HeaderRule,
}
_FLAGS: Final[Mapping[tuple[str, ...], str]] = {
    ("mongodb", "uri"): "--mongodb-uri",
    ("s3", "bucket"): "--bucket",
    **{
        (section, key): f"--{key.replace('_', '-')}"
        for section in ("s3", "select", "accept", "schedule")
        for key in _SECTIONS[section].model_fields
    },
    ("s3", "endpoint_url"): "--s3-endpoint",
    ("headers",): "--header",
    ("transfer", "delete_at_most_percent"): "--delete-at-most-percent",
    ("transfer", "manifest"): "--manifest",
    ("transfer", "sha256sums"): "--sha256sums",
}


def flag_of(key: str) -> str:
    """The flag of the command line that is a setting's, by its key such as `s3.bucket`."""
    return _FLAGS[tuple(key.split("."))]


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
    remarks: list[str] = []
    path = None
    if file is not None:
        path = Path(file).absolute()
        values, status = _read(Path(file))
        layers.insert(0, Layer(visible(str(file)), values))
        if others_may_read(status) and _has_password(_section(values, "mongodb").get("uri")):
            remarks.append(_readable(path))
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge(merged, layer.values)
    remarks.extend(_put_uri_of_file(merged, layers))
    try:
        settings = Settings.model_validate(merged)
    except ValidationError as error:
        raise ConfigurationError(
            "\n".join(complaint(detail, layers, _SECTIONS) for detail in error.errors(include_url=False)),
            advice="config.example.toml explains every setting.",
        ) from None
    of_rules = (rule.sse_customer_key_file for rule in settings.watch)
    for key_file in dict.fromkeys(filter(None, (settings.s3.sse_customer_key_file, *of_rules))):
        with suppress(OSError):  # whoever uses it says that it cannot be read
            if others_may_read(Path(key_file).stat()):
                remarks.append(_readable(Path(key_file), "a key"))
    settings._file = path
    settings._layers = tuple(layers)
    settings._remarks = tuple(remarks)
    return settings


def _read(file: Path) -> tuple[dict[str, Any], os.stat_result]:
    content, status = _read_ours(file)
    try:
        return tomllib.loads(content.decode()), status
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{visible(str(file))}: not TOML: {error}") from None


def _read_ours(file: Path) -> tuple[bytes, os.stat_result]:
    """What a file holds that nobody else can have written: it says which files go where, and which are deleted."""
    try:
        with opened_ours(file) as stream:
            return stream.read(), os.fstat(stream.fileno())
    except WrittenByOthers as error:
        raise ConfigurationError(
            f"{visible(str(file))} {error.strerror}, so it is not read.",
            advice="Whoever can change it decides which files are sent and deleted. If it is meant, make it your own "
            "(chown) and take from others the right to write (chmod go-w); or name another file with --config.",
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{visible(str(file))}: {error.strerror}") from None


def _put_uri_of_file(merged: dict[str, Any], layers: Sequence[Layer]) -> Iterator[str]:
    """Where the strongest layer that says so names a file, `mongodb.uri` is what that holds. Yields remarks on it."""
    for layer in reversed(layers):
        section = _section(layer.values, "mongodb")
        if not isinstance(named := section.get("uri_file"), str | Path):
            if "uri" in section:
                return
            continue
        where = f"{layer.called(('mongodb', 'uri_file'))}: mongodb.uri_file"
        if "uri" in section:
            raise ConfigurationError(f"{where}: mongodb.uri is set too", advice="Set one of them.")
        if "://" in str(named):
            raise ConfigurationError(f"{where}: expected the path of a file that holds the connection string")
        path = Path(named).expanduser().absolute()
        try:
            content, status = _read_ours(path)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error.message}", advice=error.advice) from None
        uri = content.decode("utf-8", "surrogateescape").strip()
        if others_may_read(status) and _has_password(uri):
            yield _readable(path)
        merged["mongodb"]["uri"] = uri
        return


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name)
    return section if isinstance(section, Mapping) else {}


def _has_password(uri: object) -> bool:
    return isinstance(uri, str) and _PASSWORD.search(uri) is not None


def _readable(path: Path, what: str = "a password") -> str:
    return f"{visible(str(path))} holds {what}, and other users can read it: chmod 600 takes that right from them."


def _environment_layer(environment: Mapping[str, str]) -> Layer:
    values: dict[str, Any] = {}
    names: dict[tuple[str, ...], str] = {}
    for name, value in sorted(environment.items()):
        if name.startswith(ENVIRONMENT_PREFIX) and name != FILE_VARIABLE:
            steps = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            _put(values, steps, _list_or_text(value), visible(name))
            names[steps] = visible(name)
    return Layer("environment", values, names, ENVIRONMENT_PREFIX)


def _list_or_text(value: str) -> Any:
    """A list is written as in the file, or as JSON has it: ["*.tmp", "drafts/"]."""
    if value.startswith("["):
        with suppress(ValueError):
            return json.loads(value)
    return value


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
