"""Where an object is put over HTTP: host, and the path to a bucket's keys.

Owns asking botocore for it, so that regions, dual-stack, FIPS and path or virtual-hosted style are decided in one
place. The answer holds for all keys of a bucket.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit
from urllib.request import getproxies

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket's place. `host` with its port as it stands in the Host header; `prefix` is what keys are appended to."""

    host: str
    prefix: str
    is_tls: bool

    @property
    def url(self) -> str:
        """Of the host alone."""
        return f"{'https' if self.is_tls else 'http'}://{self.host}"

    def path(self, key: str) -> str:
        """The path of a key, escaped as S3 signs it (RFC 3986, with slashes as they are)."""
        return self.prefix + quote(key, safe="/~")


def address_of(s3: S3Client, bucket: str) -> Address:
    """Where the client would send a PutObject to that bucket. Raises what botocore raises."""
    url = urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}))
    return Address(url.netloc, url.path.removesuffix("k"), url.scheme == "https")


def is_plain_bucket(bucket: str) -> bool:
    """A bucket by its name: no access point or other ARN, no directory bucket (S3 Express has sessions of its own)."""
    return ":" not in bucket and not bucket.endswith("--x-s3")


def names_proxy(scheme: str) -> bool:
    """Whether the environment, or the system, names a proxy for `http` or `https`, whomever NO_PROXY excepts.

    boto3 and the Common Runtime both read these variables, but by rules of their own: with `host:port` in NO_PROXY, or
    with an empty https_proxy beside HTTPS_PROXY, one of them goes through the proxy and the other does not.
    """
    variable = f"{scheme}_proxy"
    return scheme in getproxies() or any(value and name.lower() == variable for name, value in os.environ.items())
