"""Everything that the uploads to one S3 endpoint share, made and closed together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from console.choices import ChecksumPolicy, EngineChoice
from console.s3.credentials import open_session
from console.transfer.bandwidth import BandwidthLimit
from console.transfer.client import ClientOptions, is_aws, make_client
from console.transfer.engine import Engine
from console.transfer.engine_choice import choose_engine
from console.transfer.keys_in_use import KeysInUse
from console.transfer.pool import WorkerPool
from console.transfer.server import ServerTraits
from console.transfer.slots import Slots

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


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
