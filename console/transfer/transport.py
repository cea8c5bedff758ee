"""Which engine sends the bodies: the Common Runtime the small ones, where it loads and fits, boto3 the others.

Owns the reasons. Per bucket and per body `crt_engine` decides again.

Keys that uploads of this process are about to make.

Owns that no two of them choose the same one: between the look at a key and the write there is time for another
thread, and not every server knows a conditional write that would tell.

Everything that the uploads to one S3 endpoint share, made and closed together.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

from console.models import ChecksumPolicy, EngineChoice
from console.s3.address import names_proxy
from console.s3.client import ClientOptions, is_aws, make_client
from console.s3.confirmation import ServerTraits
from console.s3.credentials import open_session
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.boto3_engine import Boto3Engine
from console.s3.engines.engine import Engine
from console.transfer.threads import Slots, WorkerPool

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_s3.client import S3Client


LARGEST_WHERE_FASTER: Final = 4 * 1024 * 1024
"""Up to here the runtime costs less for each request than boto3; beyond, more for each byte, and twice the memory: its
messages are of 16 KiB, with three records for each over TLS."""

_log = logging.getLogger(__name__)


class _Unfit(Exception):
    """The runtime cannot be used, and why."""


def choose_engine(
    choice: EngineChoice, s3: S3Client, session: boto3.Session, options: ClientOptions, bandwidth: BandwidthLimit
) -> Engine:
    """The engine that is asked for, or boto3's where the runtime is of no use here (with a line in the log)."""
    boto3_engine = Boto3Engine(s3)
    if choice == "boto3":
        return boto3_engine
    try:
        largest = LARGEST_WHERE_FASTER if choice == "auto" else None
        return _crt_engine(s3, session, options, boto3_engine, bandwidth, largest)
    except _Unfit as reason:
        _log.log(logging.WARNING if choice == "crt" else logging.INFO, "boto3 sends the bodies: %s", reason)
        return boto3_engine


def _crt_engine(
    s3: S3Client,
    session: boto3.Session,
    options: ClientOptions,
    fallback: Engine,
    bandwidth: BandwidthLimit,
    largest_body: int | None,
) -> Engine:
    try:
        from console.s3.engines.crt_engine import LARGEST_BODY, CrtEngine, Signing, make_crt_client
    except ImportError as error:
        raise _Unfit(f"the Common Runtime does not load: {error}") from None
    endpoint = urlsplit(s3.meta.endpoint_url)
    if names_proxy(endpoint.scheme):
        raise _Unfit(f"a proxy is set for {endpoint.scheme}, and the Common Runtime reads NO_PROXY by other rules")
    ca_file = _ca_file(session, options) if endpoint.scheme == "https" else None
    region = s3.meta.region_name
    try:
        client = make_crt_client(
            region=region,
            is_tls=endpoint.scheme == "https",
            ca_file=ca_file,
            connect_timeout_seconds=options.connect_timeout_seconds,
            connections=options.connections,
        )
    except Exception as error:  # noqa: BLE001 - the runtime has no common class for what it refuses
        raise _Unfit(f"the Common Runtime refuses its settings: {error}") from None
    return CrtEngine(
        s3,
        client,
        Signing(session.get_credentials(), region),
        fallback=fallback,
        bandwidth=bandwidth,
        largest_body=largest_body or LARGEST_BODY,
        ca_file=ca_file,
        connect_timeout_seconds=options.connect_timeout_seconds,
        read_timeout_seconds=options.read_timeout_seconds,
    )


def _ca_file(session: boto3.Session, options: ClientOptions) -> str:
    """The certificates that boto3 trusts: those that are set, or AWS_CA_BUNDLE, or REQUESTS_CA_BUNDLE, or the bundle
    that it brings."""
    if options.ca_bundle is not None:
        return str(options.ca_bundle)
    named: str | None = session._session.get_config_variable("ca_bundle")
    return named or os.environ.get("REQUESTS_CA_BUNDLE") or str(get_cert_path(True))


class KeysInUse:
    """Who is at work on which key of which bucket. Thread-safe."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str], object] = {}
        self._lock = threading.Lock()

    def take(self, bucket: str, key: str, owner: object) -> bool:
        """Whether the key is the owner's from now on: nobody else has it."""
        with self._lock:
            return self._owners.setdefault((bucket, key), owner) is owner

    def release(self, owner: object) -> None:
        """The owner's keys are free again."""
        with self._lock:
            self._owners = {place: held_by for place, held_by in self._owners.items() if held_by is not owner}


FIRST_BODIES: Final = 8
MOST_BODIES: Final = 64
"""Each body under way holds a piece of a megabyte, its copy in the HTTP library, and a thread: 64 stay well below
256 MiB."""


@dataclass(frozen=True, slots=True)
class Transport:
    """Client, engine, threads, limits, and what is known of the server. Safe to use from several threads."""

    s3: S3Client
    engine: Engine
    pool: WorkerPool
    bandwidth: BandwidthLimit
    server: ServerTraits
    keys: KeysInUse = field(default_factory=KeysInUse)

    def close(self) -> None:
        """End threads and connections."""
        self.pool.close()
        self.engine.close()
        self.s3.close()


def open_transport(
    options: ClientOptions,
    *,
    parts: int | None = 8,
    bytes_per_second: int = 0,
    checksum: ChecksumPolicy = "auto",
    engine: EngineChoice = "auto",
) -> Transport:
    """A transport with at most `parts` parts under way (None: as many as turn out best), and a bandwidth limit (0 for
    none).

    Raises:
        ConfigurationError: the client cannot be made.
    """
    slots = Slots(FIRST_BODIES, MOST_BODIES)
    slots.resize(parts)
    session = open_session(options.profile, options.region)
    s3 = make_client(options, session)
    bandwidth = BandwidthLimit(bytes_per_second)
    return Transport(
        s3=s3,
        engine=choose_engine(engine, s3, session, options, bandwidth),
        pool=WorkerPool(slots),
        bandwidth=bandwidth,
        server=ServerTraits(is_aws=is_aws(s3), policy=checksum),
    )
