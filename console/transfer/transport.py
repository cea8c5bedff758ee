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
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

from console.capacity import bodies_at_once
from console.choices import MEBIBYTE, ChecksumPolicy, EngineChoice
from console.formatting import visible
from console.s3.address import Address, address_of, is_plain_bucket, names_proxy
from console.s3.client import ClientOptions, common_parameters, is_aws, make_client
from console.s3.confirmation import ServerTraits
from console.s3.credentials import open_session
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


def small_engine(choice: EngineChoice, s3: S3Client, session: Session, options: ClientOptions) -> HttpEngine | None:
    """The engine for small objects, or None where boto3 has to send them too (with a line in the log)."""
    if choice == "boto3":
        return None
    scheme = urlsplit(s3.meta.endpoint_url).scheme
    if names_proxy(scheme):
        _log.info(_PROXY, scheme)
        return None

    @cache
    def where(bucket: str) -> Address:
        if not is_plain_bucket(bucket):
            raise TransferError("NotImplemented", f"{visible(bucket)} is not for this engine")
        return address_of(s3, bucket)

    return HttpEngine(
        where,
        Signer(session.get_credentials(), s3.meta.region_name),
        ca_file=_ca_file(session, options) if scheme == "https" else None,
        connect_timeout_seconds=options.connect_timeout_seconds,
        read_timeout_seconds=options.read_timeout_seconds,
        common=common_parameters(options),
    )


def _ca_file(session: Session, options: ClientOptions) -> str:
    """The certificates that boto3 trusts: those that are set, or AWS_CA_BUNDLE, or REQUESTS_CA_BUNDLE, or the bundle
    that it brings."""
    if options.ca_bundle is not None:
        return str(options.ca_bundle)
    named: str | None = session.get_config_variable("ca_bundle")
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
_FIRST_SMALL: Final = 16
_MOST_SMALL: Final = 256
_MOST_SMALL_BYTES: Final = 64 * MEBIBYTE


@dataclass(frozen=True, slots=True)
class Transport:
    """Client, engines, threads, limits, and what is known of the server. Safe to use from several threads. `http` sends
    small objects, as many at once as `small` says; None where boto3 has to."""

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
    session = open_session(options.profile, options.region)
    s3 = make_client(options, session)
    return Transport(
        s3=s3,
        engine=Boto3Engine(s3),
        http=small_engine(engine, s3, session, options),
        pool=WorkerPool(slots),
        bandwidth=BandwidthLimit(bytes_per_second),
        server=ServerTraits(is_aws=is_aws(s3), policy=checksum),
        small=Slots(min(_FIRST_SMALL, most_small), most_small, most_bytes=_MOST_SMALL_BYTES),
    )
