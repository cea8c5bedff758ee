"""Which engine sends the bodies: the Common Runtime the small ones, where it loads and fits, boto3 the others.

Owns the reasons. Per bucket and per body `crt_engine` decides again.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from botocore.httpsession import get_cert_path

from console.choices import EngineChoice
from console.transfer.address import names_proxy
from console.transfer.bandwidth import BandwidthLimit
from console.transfer.boto3_engine import Boto3Engine
from console.transfer.client import ClientOptions
from console.transfer.engine import Engine

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
        from console.transfer.crt_client import Signing, make_crt_client
        from console.transfer.crt_engine import LARGEST_BODY, CrtEngine
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
