"""What all uploads to one S3 endpoint share: clients, engines and the keys in use, made and closed together.

Small bodies go over connections of our own where these go the same way as boto3 (proxies, certificates), else through
boto3, as all other requests do. No two uploads of a process choose the same new key: between the look at a key and
the write there is time for another thread, and not every server knows conditional writes.
"""

from __future__ import annotations

import logging
import os
import threading
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import urlsplit

from console.capacity import bodies_at_once
from console.choices import MEBIBYTE, ChecksumPolicy, EngineChoice
from console.formatting import visible
from console.s3.address import Address, address_of, is_plain_bucket, names_proxy
from console.s3.client import ClientOnDemand, ClientOptions, PlainService, common_parameters, is_aws, make_client
from console.s3.confirmation import ServerTraits
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.boto3_engine import Boto3Engine
from console.s3.engines.http_engine import HttpEngine
from console.s3.engines.signature import Signer
from console.s3.transfer_errors import TransferError
from console.transfer.threads import Slots, WorkerPool

if TYPE_CHECKING:
    from botocore.session import Session
    from mypy_boto3_s3.client import S3Client


_log = logging.getLogger(__name__)

_PROXY: Final = "boto3 sends small files too: a proxy is set for %s, and it knows whom NO_PROXY excepts"


@dataclass(frozen=True, slots=True)
class _Service:
    """The S3 service of a transport, `plain` where botocore need not be asked for it, else of its `session`."""

    url: str
    region: str
    credentials: Any
    s3: S3Client
    plain: PlainService | None = None
    session: Session | None = None

    @classmethod
    def open(cls, options: ClientOptions) -> Self:
        if (plain := PlainService.of(options)) is not None:
            on_demand: Any = ClientOnDemand(lambda: make_client(options))
            return cls(plain.url, plain.region, plain.credentials, cast("S3Client", on_demand), plain=plain)
        from console.s3.credentials import open_session

        session = open_session(options.profile, options.region)
        s3 = make_client(options, session)
        return cls(s3.meta.endpoint_url, s3.meta.region_name, session.get_credentials(), s3, session=session)

    def address(self, bucket: str) -> Address:
        """Where objects of the bucket are."""
        if not is_plain_bucket(bucket):
            raise TransferError("NotImplemented", f"{visible(bucket)} is not for this engine")
        plain = self.plain.address(bucket) if self.plain is not None else None
        return plain or address_of(self.s3, bucket)

    def ca_file(self, options: ClientOptions) -> str:
        """The certificates that boto3 trusts: those that are set, or AWS_CA_BUNDLE, or REQUESTS_CA_BUNDLE, or the
        bundle that it brings."""
        if options.ca_bundle is not None:
            return str(options.ca_bundle)
        of_session = self.session.get_config_variable("ca_bundle") if self.session is not None else None
        named: str | None = of_session or os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
        if named:
            return named
        from botocore.httpsession import get_cert_path

        return str(get_cert_path(True))


def _small_engine(choice: EngineChoice, service: _Service, options: ClientOptions) -> HttpEngine | None:
    """The engine for small objects, or None where boto3 has to send them too (with a line in the log)."""
    if choice == "boto3":
        return None
    scheme = urlsplit(service.url).scheme
    if names_proxy(scheme):
        _log.info(_PROXY, scheme)
        return None

    return HttpEngine(
        cache(service.address),
        Signer(service.credentials, service.region),
        ca_file=service.ca_file(options) if scheme == "https" else None,
        connect_timeout_seconds=options.connect_timeout_seconds,
        read_timeout_seconds=options.read_timeout_seconds,
        common=common_parameters(options),
    )


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
_FIRST_SMALL: Final = 16
_MOST_SMALL: Final = 256
_MOST_SMALL_BYTES: Final = 64 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Transport:
    """Address, client, engines, threads, limits, and what is known of the server. Safe to use from several threads.
    `http` sends small objects, as many at once as `small` says; None where boto3 has to."""

    url: str
    s3: S3Client
    engine: Boto3Engine
    http: HttpEngine | None
    pool: WorkerPool
    bandwidth: BandwidthLimit
    server: ServerTraits
    small: Slots
    keys: KeysInUse = field(default_factory=KeysInUse)

    def close(self) -> None:
        self.pool.close()
        if self.http is not None:
            self.http.close()
        self.s3.close()


def with_access(transport: Transport, options: ClientOptions) -> Transport:
    """The same with a client of other `options`: who pays, whose bucket it must be, which key of ours encrypts.

    Raises:
        ConfigurationError: the client cannot be made.
    """
    s3 = _Service.open(options).s3
    engine = Boto3Engine(s3, has_customer_key=options.sse_customer_key is not None)
    return replace(transport, s3=s3, engine=engine, http=None)


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
    most, most_small = bodies_at_once(MOST_BODIES), bodies_at_once(_MOST_SMALL)
    options = replace(options, connections=bodies_at_once(options.connections))
    slots = Slots(min(FIRST_BODIES, most), most)
    slots.resize(parts)
    service = _Service.open(options)
    return Transport(
        url=service.url,
        s3=service.s3,
        engine=Boto3Engine(service.s3, has_customer_key=options.sse_customer_key is not None),
        http=_small_engine(engine, service, options),
        pool=WorkerPool(slots),
        bandwidth=BandwidthLimit(bytes_per_second),
        server=ServerTraits(is_aws=is_aws(service.url), policy=checksum),
        small=Slots(min(_FIRST_SMALL, most_small), most_small, most_bytes=_MOST_SMALL_BYTES),
    )
