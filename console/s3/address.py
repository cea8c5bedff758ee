"""Where an object is: the service that records name, and the host and path to which it is put over HTTP.

Owns what a service is called (`endpoint_name`), and asking botocore for the place of a bucket's keys, so that regions,
dual-stack, FIPS and path or virtual-hosted style are decided in one place. The answer holds for all keys of a bucket.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit, urlunsplit
from urllib.request import getproxies

from console.models import Endpoint

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


_PORTS: Final = {"http": 80, "https": 443}
# Bucket names are unique within a partition of AWS, whatever region or kind of endpoint they are reached by:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_S3_OF_AWS: Final = re.compile(
    r"(?:^|\.)s3(?:express)?(?:-[a-z0-9-]+)?\.(?:[a-z0-9-]+\.)*?(amazonaws\.com(?:\.cn)?|api\.aws)$"
)
_PARTITIONS: Final = (
    (re.compile(r"\.us-gov-[a-z]+-\d\."), "https://s3.us-gov-west-1.amazonaws.com"),
    (re.compile(r"\.cn-[a-z]+-\d\."), "https://s3.cn-north-1.amazonaws.com.cn"),
)
_AWS: Final = "https://s3.amazonaws.com"
_VIRTUAL_HOSTED: Final = re.compile(
    r"s3[.-].+|[a-z0-9-]+\.(digitaloceanspaces|linodeobjects|vultrobjects|your-objectstorage)\.com"
    r"|[a-f0-9]{32}(\.[a-z]+)?\.r2\.cloudflarestorage\.com|storage\.googleapis\.com"
)
"""Hosts of services, as they stand behind a bucket's name in what their pages give as the bucket's address."""
_LOOPBACK: Final = re.compile(r"localhost|127(?:\.\d+){3}")


def endpoint_name(url: str) -> str:
    """What the service at an address is called in records: one name for all ways to write the address, and for all
    addresses of AWS that lead to the same buckets. No user, password or query is in it.
    """
    parts = urlsplit(url)
    scheme, host = parts.scheme.lower(), (parts.hostname or "").rstrip(".")
    if _S3_OF_AWS.search(host):
        return next((name for pattern, name in _PARTITIONS if pattern.search(host)), _AWS)
    if _LOOPBACK.fullmatch(host):
        host = "127.0.0.1"
    elif ":" in host:
        host = f"[{host}]"
    port = "" if parts.port in (None, _PORTS.get(scheme)) else f":{parts.port}"
    return f"{scheme}://{host}{port}{parts.path.rstrip('/')}"


@functools.cache
def bucket_within(url: str, bucket: str) -> str:
    """The address without the bucket, where it holds that already (so that keys would begin with it once more); else
    empty."""
    parts = urlsplit(url)
    above, _, last = parts.path.rstrip("/").rpartition("/")
    if last == bucket:
        return urlunsplit((parts.scheme, parts.netloc, above, "", ""))
    first, _, behind = (parts.hostname or "").partition(f"{bucket}.")
    if not first and _VIRTUAL_HOSTED.fullmatch(behind):
        return urlunsplit((parts.scheme, parts.netloc.replace(f"{bucket}.", "", 1), parts.path, "", ""))
    return ""


def endpoint_of(url: str, names: Mapping[str, str]) -> Endpoint:
    """The service at an address, where people gave `names` to some addresses."""
    named = {endpoint_name(address): name for address, name in names.items()}
    address = endpoint_name(url)
    name = named.get(address, address)
    return Endpoint((name, *(other for other in named if named[other] == name and other != name)))


@dataclass(frozen=True, slots=True)
class Address:
    """A bucket's place. `host` with its port as it stands in the Host header; `prefix` is what keys are appended to."""

    host: str
    prefix: str
    is_tls: bool

    @property
    def url(self) -> str:
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
