"""The Common Runtime's S3 client: event loops, TLS, and signing with the credentials that botocore found.

Owns setting it up, and what its threads need of Python. Importing this module imports the runtime, which not every
platform has.
"""

from __future__ import annotations

import ctypes
import functools
import os
import socket
import ssl
import threading
from typing import Any, Final
from urllib.parse import urlsplit

from awscrt.auth import AwsCredentialsProvider, AwsSigningConfig
from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions
from awscrt.s3 import S3Client, S3RequestTlsMode, S3RetryConfig, S3RetryMode, create_default_s3_signing_config

from console.formatting import visible
from console.transfer.address import Address
from console.transfer.errors import TransferError

_MOST_LOOPS: Final = 4
"""Threads of the runtime. One sends some GB/s, and each that calls back waits for Python's lock."""
_TARGET_GBPS: Final = 100.0
"""From this the runtime derives how many connections it may open; `connections` is the number that holds."""


def make_crt_client(
    *, region: str, is_tls: bool, ca_file: str | None, connect_timeout_seconds: float, connections: int
) -> S3Client:
    """A client without retries of its own (`retrying` does that). `ca_file`: certificates to trust, None for those of
    the system.

    Raises:
        OSError: `ca_file` cannot be read. RuntimeError: the runtime refuses it.
    """
    tls = None
    if is_tls:
        options = TlsContextOptions()
        if ca_file is not None:
            options.override_default_trust_store_from_path(None, ca_file)
        tls = ClientTlsContext(options).new_connection_options()
    return S3Client(
        bootstrap=_bootstrap(),
        region=region,
        tls_mode=S3RequestTlsMode.ENABLED if is_tls else S3RequestTlsMode.DISABLED,
        tls_connection_options=tls,
        throughput_target_gbps=_TARGET_GBPS,
        max_active_connections_override=connections,
        retry_config=S3RetryConfig(retry_mode=S3RetryMode.NONE),
        connect_timeout_ms=int(connect_timeout_seconds * 1000),
    )


@functools.cache
def _bootstrap() -> ClientBootstrap:
    """The process's event loops: threads and files that clients share and that no client's end gives back at once."""
    loops = EventLoopGroup(min(_MOST_LOOPS, os.cpu_count() or 1))
    return ClientBootstrap(loops, DefaultHostResolver(loops))


_thread = threading.local()


def keep_thread() -> None:
    """Called by the runtime, on a thread of its own: from now on Python knows that thread.

    Else Python makes a thread state for each single call, and drops it behind: with a stack that the system maps and
    unmaps, and tells the other processors of, that was a tenth of the processor time of small files. A state is kept
    while calls of `PyGILState_Ensure` outnumber those of `PyGILState_Release` (Python's C API, "Non-Python created
    threads").
    """
    if not hasattr(_thread, "is_kept"):
        ctypes.pythonapi.PyGILState_Ensure()
        _thread.is_kept = True


class Signing:
    """How requests are signed now. Credentials that expire are renewed by botocore, on the thread that asks."""

    def __init__(self, credentials: Any, region: str) -> None:
        self._credentials = credentials
        self._region = region
        self._lock = threading.Lock()
        self._frozen: Any = None
        self._config: AwsSigningConfig | None = None

    def config(self) -> AwsSigningConfig:
        """For the next request. Raises what botocore raises where credentials cannot be renewed."""
        frozen = self._credentials.get_frozen_credentials()
        with self._lock:
            if self._config is None or frozen != self._frozen:
                provider = AwsCredentialsProvider.new_static(frozen.access_key, frozen.secret_key, frozen.token)
                self._config = create_default_s3_signing_config(region=self._region, credential_provider=provider)
                self._frozen = frozen
            return self._config


def check_certificate(address: Address, ca_file: str | None, timeout_seconds: float) -> None:
    """Make sure that the host's certificate is trusted: the runtime does not tell that from other TLS failures, and
    takes up to half a minute to say so (its TLS library delays the end of a failed handshake on purpose).

    Raises:
        TransferError: CertificateRefused. Whatever else goes wrong is left for the first request to meet.
    """
    url = urlsplit(address.url)
    context = ssl.create_default_context(cafile=ca_file)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # set from Python 3.13 on; boto3 and the runtime ask for less
    try:
        with (
            socket.create_connection((url.hostname, url.port or 443), timeout_seconds) as plain,
            context.wrap_socket(plain, server_hostname=url.hostname),
        ):
            pass
    except ssl.SSLCertVerificationError as error:
        raise TransferError("CertificateRefused", visible(f"{address.host}: {error.verify_message}")) from None
    except OSError:
        return
