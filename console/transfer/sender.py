"""S3 as runner, commands and screens use it: one object made from the settings.

    from console.transfer.sender import S3Sender
    with S3Sender(settings.s3, settings.transfer) as sender:
        sender.check_bucket()

Owns turning settings into a transport and options. Not here: how an upload is sent (`send`).
"""

from __future__ import annotations

import base64
import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self

from console.choices import MOST_PARALLEL
from console.errors import ConfigurationError
from console.formatting import visible
from console.models import ACCESS, BucketPage, Comparison, Multipart, ObjectFacts, OpenMultipart, Storage, Upload
from console.private_files import WrittenByOthers, opened_ours, require_ours
from console.records.runners import Limits
from console.records.seals import Seals
from console.records.uploads import NewUpload, Uploads
from console.s3.address import bucket_within, endpoint_of
from console.s3.client import ClientOptions
from console.s3.control import Control, Journal, Unattended
from console.s3.engines.bandwidth import BandwidthLimit
from console.s3.engines.engine import ObjectSettings
from console.s3.engines.http_engine import Cancel
from console.s3.engines.source import SourceFile
from console.s3.object_listing import ObjectListing, bucket_page, download, object_facts, prefixes
from console.s3.operations import NotOurs, StoredObject, delete_keys, delete_object, head_object, presign_download
from console.s3.part_size import USUAL_PART_SIZE
from console.s3.retry import RetryPolicy, call, call_with_retries
from console.s3.transfer_errors import TransferError
from console.settings import S3Settings, TransferSettings
from console.transfer.comparison import verify_upload
from console.transfer.job import Confirmation, SendOptions
from console.transfer.multipart import abort
from console.transfer.orphans import YOUNGEST_SECONDS, abort_orphans, find_orphans
from console.transfer.send import send
from console.transfer.small_files import SmallFiles
from console.transfer.transport import Transport, open_transport, with_access

_PART_SECONDS: Final = 2.0
_KEY_BYTES: Final = 32
_MOST_OF_A_KEY_FILE: Final = 4096
_OF_RECORDS: Final = {*ACCESS, "compress", "encrypt_to"}
"""Whether a file is compressed or encrypted its record says, whose key says it too; access is the client's."""


def client_options(s3: S3Settings, transfer: TransferSettings) -> ClientOptions:
    """Where S3 is and how it is reached, from the settings."""
    return ClientOptions(
        endpoint_url=s3.endpoint_url,
        region=s3.region,
        profile=s3.profile,
        addressing_style=s3.addressing_style,
        ca_bundle=_ca_bundle(s3.ca_bundle) if s3.ca_bundle is not None else None,
        connect_timeout_seconds=transfer.connect_timeout_seconds,
        read_timeout_seconds=transfer.read_timeout_seconds,
        sse_customer_key=customer_key(s3.sse_customer_key_file) if s3.sse_customer_key_file is not None else None,
        requester_pays=s3.requester_pays,
        expected_bucket_owner=s3.expected_bucket_owner,
    )


def _ca_bundle(named: Path) -> Path:
    """Raises ConfigurationError: somebody else can say which servers are S3."""
    path = named.expanduser()
    try:
        require_ours(path)
    except WrittenByOthers as error:
        raise ConfigurationError(
            f"s3.ca_bundle: {visible(str(path))} {error.strerror}, so it is not used.",
            advice="Whoever can change it can pass a server of his own for S3: make it your own (chown, chmod 644).",
        ) from None
    except OSError as error:
        raise ConfigurationError(f"s3.ca_bundle: {visible(str(path))}: {error.strerror}") from None
    return path


def customer_key(file: str, named: str = "s3.sse_customer_key_file") -> bytes:
    """The key of a file: 32 bytes, or these in Base64 or hexadecimal. `named` is what says so.

    Raises:
        ConfigurationError: it cannot be read, or is no such key.
    """
    try:
        with opened_ours(Path(file)) as stream:
            content = stream.read(_MOST_OF_A_KEY_FILE)
    except WrittenByOthers as error:
        raise ConfigurationError(
            f"{named}: {visible(file)} {error.strerror}, so it is not used.",
            advice="Whoever can change it knows the key, or takes it away. Make the file your own (chown, chmod 600).",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{named}: {visible(file)}: {reason}") from None
    text = content.strip()
    for key in (content, _decoded(bytes.fromhex, text), _decoded(_from_base64, text)):
        if len(key) == _KEY_BYTES:
            return key
    raise ConfigurationError(
        f"{named}: {visible(file)} holds no key of {_KEY_BYTES} bytes",
        advice=f"Make one: head -c {_KEY_BYTES} /dev/urandom > FILE, and keep it: without it nobody reads the objects.",
    )


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _decoded(decode: Callable[[str], bytes], text: bytes) -> bytes:
    try:
        return decode(text.decode("ascii"))
    except ValueError:
        return b""


def require_endpoint_without_bucket(s3: S3Settings) -> None:
    """Raises `ConfigurationError` where keys would get the bucket's name before them."""
    if s3.endpoint_url and s3.bucket and (without := bucket_within(s3.endpoint_url, s3.bucket)):
        raise ConfigurationError(
            f"s3.endpoint_url: {visible(s3.endpoint_url)} holds the bucket {visible(s3.bucket)} already, which goes "
            "before each key by itself",
            advice=f"Use {visible(without)}",
        )


def _listed_prefix(prefix: str, key_template: str) -> str:
    """What all our keys begin with: `team/` where templates make it a folder, for `team-b/…` is a neighbour's."""
    prefix = prefix.strip("/")
    return f"{prefix}/" if prefix and key_template.lstrip("/").startswith("{prefix}/") else prefix


class S3Sender:
    """Everything that is done to S3. Thread-safe; a context manager."""

    def __init__(self, s3: S3Settings, transfer: TransferSettings, *, retry: RetryPolicy | None = None) -> None:
        """Set up; nothing is sent yet. `retry` replaces the policy made of `transfer.retries`.

        Raises:
            ConfigurationError: no credentials or region, or a wrong endpoint.
        """
        require_endpoint_without_bucket(s3)
        self._bucket = s3.bucket
        self._prefix = _listed_prefix(s3.prefix, transfer.key_template)
        options = client_options(s3, transfer)
        self._transport = open_transport(
            options,
            parts=transfer.parallel_parts,
            bytes_per_second=int(transfer.bandwidth_limit),
            checksum=transfer.checksum,
            engine=transfer.engine,
        )
        self.endpoint = endpoint_of(self.address, s3.endpoint_names)
        self._options = SendOptions(
            part_size=transfer.part_size,
            multipart_threshold=int(transfer.multipart_threshold),
            duplicates=transfer.duplicates,
            settings=ObjectSettings(
                **{
                    name: getattr(s3, name)
                    for name in Storage.model_fields.keys() - {"compress", "encrypt_to", *ACCESS}
                }
            ),
            retry=retry or RetryPolicy(retries=transfer.retries, outage_seconds=transfer.outage_seconds),
        )
        self._uploads = transfer.parallel_uploads
        self._seals = Seals.of_this_user()
        self._client_options = options
        self._usual_access = tuple(getattr(s3, name) for name in ACCESS)
        self._others: dict[tuple[Any, ...], Transport] = {}
        self._opening = threading.Lock()
        self._limits_of_watches: dict[str, BandwidthLimit] = {}
        self._small_files = SmallFiles(self._transport, self._options)

    @property
    def address(self) -> str:
        return self._transport.url

    def refusal(self, upload: Upload) -> str | None:
        """Why nothing can be done here to the upload's object; None where it can: the object is at this endpoint."""
        here = self.endpoint
        if bucket_within(self.address, upload.bucket):
            return f"{visible(self.address)} holds the bucket {visible(upload.bucket)} already: correct s3.endpoint_url"
        if here.holds(upload):
            return None
        there = visible(str(upload.endpoint))
        return (
            f"its object is at {there}, and this works for {visible(here.name)}: use --s3-endpoint {there}, or where "
            "both are addresses of one S3 service, say so in s3.endpoint_names"
        )

    def _access_of(self, storage: Storage | None) -> tuple[Any, ...]:
        """What every request for an object that is kept so says, in the order of `ACCESS`."""
        told = (getattr(storage, name, None) for name in ACCESS)
        return tuple(usual if own is None else own for own, usual in zip(told, self._usual_access, strict=True))

    def _transport_of(self, storage: Storage | None) -> Transport:
        """Raises `TransferError` where the key is not to be had."""
        access = self._access_of(storage)
        if access == self._usual_access:
            return self._transport
        key_file, requester_pays, owner = access
        with self._opening:
            if access not in self._others:
                try:
                    options = replace(
                        self._client_options,
                        sse_customer_key=customer_key(key_file, "sse_customer_key_file")
                        if key_file is not None
                        else None,
                        requester_pays=requester_pays,
                        expected_bucket_owner=owner,
                    )
                    self._others[access] = with_access(self._transport, options)
                except ConfigurationError as error:
                    raise TransferError("EncryptionFailed", error.message) from None
            return self._others[access]

    def _require_here(self, upload: Upload) -> None:
        if (words := self.refusal(upload)) is not None:
            raise TransferError("OtherEndpoint", words)

    def send(self, upload: Upload, journal: Journal, control: Control) -> Confirmation:
        """Send one upload, start to confirmed end. Raises `TransferError` or `Stopped`."""
        self._require_here(upload)
        return send(
            upload,
            transport=self._transport_of(upload.storage),
            options=self._options,
            journal=journal,
            control=control,
            limit=self._limits_of_watches.get(upload.watch.rule) if upload.watch is not None else None,
        )

    @property
    def small_up_to(self) -> int | None:
        """Up to which size files go by `send_small` if nothing speaks against it; None where none do."""
        return self._small_files.largest

    def takes(self, upload: Upload) -> bool:
        """Whether `send_small` may be tried with it."""
        has_limit = upload.watch is not None and upload.watch.rule in self._limits_of_watches
        is_usual = self._access_of(upload.storage) == self._usual_access
        return not has_limit and is_usual and self._small_files.takes(upload)

    def takes_new(self, upload: NewUpload) -> bool:
        """The same of one that has no document yet."""
        is_usual = self._access_of(upload.storage) == self._usual_access
        return is_usual and self._small_files.takes_new(upload)

    def send_small(
        self, upload: Upload, journal: Journal, control: Control, on_the_way: Callable[[Cancel], None]
    ) -> Confirmation | None:
        """Send a small file; None where `send` has to do it. `on_the_way` gets what breaks it off. Raises `Stopped`."""
        return self._small_files.send(upload, journal, control, on_the_way)

    def abort(self, upload: Upload, multipart: Multipart) -> bool:
        """Drop the parts of an open multipart upload; False where the server cannot. Raises `TransferError`; `NotOurs`
        where it may be another program's."""
        self._require_here(upload)
        if not self._seals.is_own_multipart(upload.model_copy(update={"multipart": multipart})):
            raise NotOurs("nothing shows that one of this user's processes opened the multipart upload")
        s3 = self._transport_of(upload.storage).s3
        return abort(s3, upload.bucket, upload.key, multipart.upload_id)

    def delete(self, upload: Upload, others: Collection[Upload] = ()) -> bool:
        """Delete an upload's object, if it made it, or one of the `others` whose object is to go too.

        Raises:
            NotOurs: it is another one. TransferError: as `transfer_errors.classify` sorts it.
        """
        self._require_here(upload)
        return delete_object(
            self._transport_of(upload.storage).s3,
            upload.bucket,
            upload.key,
            etag=upload.etag,
            version_id=upload.version_id,
            size=None if upload.is_transformed else upload.size,
            owners={str(owner.id) for owner in (upload, *others)},
            is_vouched_for=self._seals.made(upload),
        )

    def made(self, upload: Upload) -> bool:
        """Whether the object under its key bears the upload's mark. Raises `TransferError`."""
        s3 = self._transport_of(upload.storage).s3
        found = call_with_retries(lambda: head_object(s3, upload.bucket, upload.key, upload.version_id))
        return found is not None and found.owner == str(upload.id)

    def stored(self, bucket: str, key: str, version_id: str | None = None) -> StoredObject | None:
        """What S3 tells of an object; None where there is none. Raises `TransferError`."""
        return call_with_retries(lambda: head_object(self._transport.s3, bucket, key, version_id))

    def verify(self, upload: Upload, control: Control | None = None) -> Comparison:
        """Compare object and file again; reads the whole file. Raises `TransferError`, and as `control` does."""
        self._require_here(upload)
        asked = control or Unattended()
        s3 = self._transport_of(upload.storage).s3
        return verify_upload(s3, upload, asked, preferred_part_size=self._options.part_size)

    def link(self, upload: Upload, lifetime_seconds: int) -> str:
        """A presigned download link; kept nowhere. Raises `TransferError`."""
        self._require_here(upload)
        return presign_download(
            self._transport_of(upload.storage).s3,
            upload.bucket,
            upload.key,
            lifetime_seconds=lifetime_seconds,
            filename=upload.key.rpartition("/")[2] if upload.is_transformed else upload.filename,
            version_id=upload.version_id,
        )

    def listing(self, bucket: str) -> ObjectListing:
        """What the bucket holds, as it is asked for in the order of keys."""
        return ObjectListing(self._transport.s3, bucket)

    def bucket_page(self, prefix: str, after: str = "") -> BucketPage:
        """What lies directly under a prefix of the bucket. Raises `TransferError`."""
        return bucket_page(self._transport.s3, self._bucket, prefix, after)

    def prefixes(self, bucket: str, beginning: str) -> list[str]:
        """Prefixes of a bucket that go on from a beginning. Raises `TransferError`."""
        return prefixes(self._transport.s3, bucket, beginning)

    def download(self, key: str, file: Path, progress: Callable[[int], bool]) -> int:
        """Write an object of the bucket into a new file. Raises `TransferError` and `UsageError`."""
        return download(self._transport.s3, self._bucket, key, file, progress)

    def object_facts(self, upload: Upload) -> ObjectFacts:
        """What S3 says of the object under the upload's key. Raises `TransferError`."""
        self._require_here(upload)
        return object_facts(self._transport_of(upload.storage).s3, upload.bucket, upload.key)

    def delete_keys(self, bucket: str, keys: Sequence[str]) -> list[tuple[str, str]]:
        """Delete objects, whoever made them; gives those that could not be, and why. Raises `TransferError`."""
        return delete_keys(self._transport.s3, bucket, keys)

    def check_bucket(self) -> None:
        """See that the bucket answers. Raises `TransferError`."""
        call(lambda: self._transport.s3.head_bucket(Bucket=self._bucket))

    def orphans(self, uploads: Uploads, *, youngest_seconds: float = YOUNGEST_SECONDS) -> list[OpenMultipart]:
        """Multipart uploads under our prefix that no document owns. Raises `TransferError`."""
        return find_orphans(
            self._transport.s3,
            uploads,
            self._bucket,
            self._prefix,
            youngest_seconds=youngest_seconds,
            endpoint=self.endpoint,
        )

    def abort_orphans(self, uploads: Uploads, orphans: Sequence[OpenMultipart]) -> list[OpenMultipart]:
        """Abort them, but for those that have an owner by now; gives those that were. Raises `TransferError`."""
        return abort_orphans(self._transport.s3, uploads, self._bucket, orphans, endpoint=self.endpoint)

    def set_limits(self, limits: Limits) -> None:
        """Bandwidth and parallel parts from now on.

        Under a bandwidth limit more parts at once make nothing faster, but all of them late: then only as many go as
        the limit carries within a few seconds, so that S3 acknowledges, and progress shows, part by part.
        """
        self._transport.bandwidth.change(limits.bandwidth)
        carried = math.ceil(limits.bandwidth * _PART_SECONDS / (self._options.part_size or USUAL_PART_SIZE))
        useful = min(max(2, carried), MOST_PARALLEL)
        parts = limits.parts
        if limits.bandwidth:
            parts = useful if parts is None else min(parts, useful)
        self._transport.pool.slots.resize(parts)
        self._transport.small.resize(limits.uploads)
        self._uploads = limits.uploads

    def set_rates(self, rates: Mapping[str, int]) -> None:
        """Bytes a second from now on of the uploads of some watches, by their titles: within what all have together."""
        for title, limit in self._limits_of_watches.items():
            limit.change(rates.get(title, 0))
        for title in rates.keys() - self._limits_of_watches.keys():
            self._limits_of_watches[title] = BandwidthLimit(rates[title], within=self._transport.bandwidth)

    @property
    def uploads_at_once(self) -> int:
        """How many files may be sent at once now, each by a thread."""
        return self._transport.pool.slots.limit if self._uploads is None else self._uploads

    @property
    def small_at_once(self) -> int:
        return self._small_files.at_once

    def is_here(self, upload: Upload) -> bool:
        """Whether the upload's file is seen at the same path, unchanged."""
        try:
            with SourceFile.open(upload.os_path, upload.below) as source:
                return source.state.fingerprint == upload.fingerprint
        except TransferError:
            return False

    def close(self) -> None:
        self._transport.close()
        for other in self._others.values():
            other.s3.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
