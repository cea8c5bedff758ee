"""The null-sink S3 server: built with the system's C compiler, started, asked what arrived.

Owns `null_sink.c` as a process on the loopback address, and the certificate for TLS.
"""

from __future__ import annotations

import hashlib
import http.client
import shutil
import ssl
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.benchmarks.measuring import cpu_seconds

SOURCE: Final = Path(__file__).with_name("null_sink.c")


class Unbuildable(Exception):
    """There is no C compiler, or no OpenSSL to build against."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a sink has taken since it was last asked to forget: objects made, bytes of bodies, requests."""

    objects: int
    bytes: int
    requests: int


def build(folder: Path, *, tls: bool) -> Path:
    """The program, built unless it is there already. Raises `Unbuildable`."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise Unbuildable("no C compiler (cc) on PATH")
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    program = folder / f"null-sink-{version}{'-tls' if tls else ''}"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        extra = (["-DWITH_TLS"], ["-lssl", "-lcrypto"]) if tls else ([], [])
        command = [compiler, "-O2", "-pthread", *extra[0], str(SOURCE), "-o", str(program), *extra[1]]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode:
            raise Unbuildable(built.stderr.splitlines()[0] if built.stderr else "the C compiler failed")
    return program


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key, valid for two days. Raises `Unbuildable`."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    try:
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unbuildable(f"openssl made no certificate: {error}") from None
    return certificate, key


class NullSink:
    """A running sink. A context manager; the process ends with it, however this program ends. `options` are those that
    `null_sink.c` explains."""

    def __init__(
        self, program: Path, certificate: tuple[Path, Path] | None = None, options: Sequence[str] = ()
    ) -> None:
        files = [str(path) for path in certificate or ()]
        self._process = subprocess.Popen(
            [str(program), *options, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._port = int(self._process.stdout.readline())
        self._context = ssl.create_default_context(cafile=files[0]) if files else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self._port}"

    @property
    def cpu_seconds(self) -> float:
        """What it has used since it started."""
        return cpu_seconds(self._process.pid)

    def take_stats(self) -> Arrived:
        """What arrived since the last call; all objects are forgotten."""
        if self._context is not None:
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                "127.0.0.1", self._port, context=self._context
            )
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            connection.request("DELETE", "/_stats", headers={"Connection": "close"})
            objects, size, requests = (int(word) for word in connection.getresponse().read().split())
        finally:
            connection.close()
        return Arrived(objects, size, requests)
