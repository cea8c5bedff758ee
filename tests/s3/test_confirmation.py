"""The arithmetic and the words of transfers: no server, no network."""

from __future__ import annotations

import hashlib
import zlib

import botocore.exceptions as aws
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.error_codes import EXPLANATIONS, Recovery, explain
from console.s3 import checksums
from console.s3.checksums import Algorithm, combine, combine_crc32, digest_bytes, multipart_etag
from console.s3.confirmation import SentPart, ServerTraits, confirm_body, confirm_object
from console.s3.engines.engine import StoredBody
from console.s3.part_size import (
    GIBIBYTE,
    MAX_OBJECT_SIZE,
    MAX_PART_SIZE,
    MAX_PARTS,
    MEBIBYTE,
    MIN_PART_SIZE,
    is_single_put,
    plan_parts,
)
from console.s3.transfer_errors import TransferError, classify, classify_file_error

# --- plan


@given(st.integers(0, MAX_OBJECT_SIZE), st.none() | st.integers(1, 2 * MAX_PART_SIZE))
def test_any_size_has_a_plan_within_the_limits(size: int, preferred: int | None) -> None:
    plan = plan_parts(size, preferred)
    assert 1 <= len(plan) <= MAX_PARTS
    assert MIN_PART_SIZE <= plan.part_size <= MAX_PART_SIZE
    first, last = plan.part(1), plan.part(len(plan))
    assert first.offset == 0
    assert last.offset + last.length == size
    assert all(plan.part(n).length == plan.part_size for n in {1, len(plan) // 2, len(plan) - 1} if 0 < n < len(plan))


@given(st.integers(0, 300 * MEBIBYTE), st.integers(MIN_PART_SIZE, 20 * MEBIBYTE))
def test_parts_are_the_whole_file_without_gaps(size: int, preferred: int) -> None:
    position = 0
    for number, part in enumerate(plan_parts(size, preferred), 1):
        assert (part.number, part.offset) == (number, position)
        position += part.length
    assert position == size


@pytest.mark.parametrize(
    ("size", "parts", "part_size"),
    [
        (0, 1, 8 * MEBIBYTE),
        (8 * MEBIBYTE, 1, 8 * MEBIBYTE),
        (8 * MEBIBYTE + 1, 2, 8 * MEBIBYTE),
        (80_000 * MEBIBYTE, 10_000, 8 * MEBIBYTE),
        (80_000 * MEBIBYTE + 1, 8_889, 9 * MEBIBYTE),
        (5 * 1024 * GIBIBYTE, 9_987, 525 * MEBIBYTE),
        (MAX_OBJECT_SIZE, 10_000, MAX_PART_SIZE),
    ],
)
def test_part_sizes_at_the_limits(size: int, parts: int, part_size: int) -> None:
    plan = plan_parts(size, 8 * MEBIBYTE)
    assert (len(plan), plan.part_size) == (parts, part_size)


@pytest.mark.parametrize(
    ("size", "part_size"),
    [
        (0, 8 * MEBIBYTE),
        (GIBIBYTE, 8 * MEBIBYTE),
        (GIBIBYTE + 1, 9 * MEBIBYTE),
        (2 * GIBIBYTE, 16 * MEBIBYTE),
        (4 * GIBIBYTE, 32 * MEBIBYTE),
        (300 * GIBIBYTE, 32 * MEBIBYTE),
        (320_000 * MEBIBYTE + 1, 33 * MEBIBYTE),
    ],
)
def test_part_sizes_where_none_is_preferred(size: int, part_size: int) -> None:
    assert plan_parts(size, None).part_size == part_size


def test_a_file_that_no_plan_fits() -> None:
    with pytest.raises(TransferError, match="EntityTooLarge"):
        plan_parts(MAX_OBJECT_SIZE + 1, MEBIBYTE)


def test_what_goes_up_in_one_piece() -> None:
    assert is_single_put(0, 0)
    assert not is_single_put(1, 0)
    assert is_single_put(15, 16)
    assert not is_single_put(16, 16)
    assert not is_single_put(6 * GIBIBYTE, 10 * GIBIBYTE)


# --- checksums


@given(st.lists(st.binary(max_size=200), max_size=6), st.sampled_from(["CRC64NVME", "CRC32C", "CRC32"]))
def test_a_combined_crc_is_that_of_the_whole(pieces: list[bytes], name: str) -> None:
    algorithm = Algorithm[name]
    parts = [(digest_bytes(algorithm, piece), len(piece)) for piece in pieces]
    assert combine(algorithm, parts) == digest_bytes(algorithm, b"".join(pieces))


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_crc32_is_combined_without_the_common_runtime(first: bytes, second: bytes) -> None:
    assert combine_crc32(zlib.crc32(first), zlib.crc32(second), len(second)) == zlib.crc32(first + second)


@pytest.mark.parametrize(
    ("algorithm", "value"),
    [  # the check values of "123456789" in the catalogue of CRCs (reveng.sourceforge.io), and RFC 1321
        (Algorithm.CRC64NVME, "ae8b14860a799888"),
        (Algorithm.CRC32C, "e3069283"),
        (Algorithm.CRC32, "cbf43926"),
        (Algorithm.MD5, "25f9e794323b453885f5181f1b624d0b"),
    ],
)
def test_check_values(algorithm: Algorithm, value: str) -> None:
    assert digest_bytes(algorithm, b"123456789").hex() == value


def test_without_the_common_runtime_crc32_remains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "common_runtime", lambda: None)
    traits = ServerTraits(is_aws=True)
    assert traits.algorithm is Algorithm.CRC32
    parts = [(digest_bytes(Algorithm.CRC32, piece), len(piece)) for piece in (b"one", b"two")]
    assert combine(Algorithm.CRC32, parts) == digest_bytes(Algorithm.CRC32, b"onetwo")


# --- what is asked of a server


def test_aws_is_asked_for_crc64() -> None:
    assert ServerTraits(is_aws=True).algorithms() == (Algorithm.CRC64NVME,)


def test_an_unknown_server_shows_what_it_can_do() -> None:
    traits = ServerTraits(is_aws=False)
    assert set(traits.algorithms()) == {Algorithm.CRC32C, Algorithm.MD5}
    traits.learn(returns_checksums=False)
    assert traits.algorithms() == (Algorithm.MD5,)
    traits.learn(returns_checksums=True)  # late news of another thread
    assert traits.algorithms() == (Algorithm.MD5,)


def test_a_server_that_refuses_checksums_gets_none() -> None:
    traits = ServerTraits(is_aws=False)
    assert traits.learn_from_refusal("NotImplemented", conditional=True, had_checksums=True)
    assert not traits.takes_conditions
    assert traits.learn_from_refusal("NotImplemented", conditional=False, had_checksums=True)
    assert traits.algorithms() == (Algorithm.MD5,)
    assert not traits.learn_from_refusal("NotImplemented", conditional=False, had_checksums=False)
    assert not traits.learn_from_refusal("AccessDenied", conditional=True, had_checksums=True)


def test_late_news_of_a_refusal_teach_nothing_else() -> None:
    """They come from requests that carried what is no longer sent: the next ones are simpler."""
    traits = ServerTraits(is_aws=False)
    for _ in range(3):
        assert traits.learn_from_refusal("NotImplemented", conditional=True, had_checksums=True)
    assert traits.returns_checksums is None
    for _ in range(3):
        assert traits.learn_from_refusal("InvalidArgument", conditional=False, had_checksums=True)
    assert traits.returns_checksums is False


def test_a_server_that_returns_checksums_does_not_refuse_them() -> None:
    traits = ServerTraits(is_aws=False)
    traits.learn(returns_checksums=True)
    assert not traits.learn_from_refusal("InvalidArgument", conditional=False, had_checksums=True)
    assert traits.returns_checksums is True


def test_where_none_but_md5_is_sent_there_is_no_simpler_request() -> None:
    traits = ServerTraits(is_aws=True, policy="md5")
    assert not traits.learn_from_refusal("NotImplemented", conditional=False, had_checksums=True)


# --- comparing answers


def body_digests(data: bytes) -> dict[Algorithm, bytes]:
    return {algorithm: digest_bytes(algorithm, data) for algorithm in Algorithm}


def object_parts(pieces: list[bytes]) -> list[SentPart]:
    return [SentPart(number, len(p), body_digests(p), hashlib.md5(p).hexdigest()) for number, p in enumerate(pieces, 1)]


def test_an_etag_of_a_kms_object_is_no_md5() -> None:
    answer = StoredBody("0" * 32, etag_is_md5=False)
    assert confirm_body(answer, body_digests(b"x")) is None
    with pytest.raises(TransferError, match="ChecksumMismatch"):
        confirm_body(StoredBody("0" * 32), body_digests(b"x"))


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=5))
def test_a_multipart_object_is_confirmed_by_whatever_came_back(pieces: list[bytes]) -> None:
    parts = object_parts(pieces)
    whole = checksums.to_base64(digest_bytes(Algorithm.CRC32, b"".join(pieces)))
    by_crc = confirm_object(StoredBody("opaque", {Algorithm.CRC32: whole}), parts)
    assert by_crc is not None
    assert (by_crc.kind, by_crc.confirmed) == ("FULL_OBJECT", "checksum")
    of_parts = b"".join(part.digests[Algorithm.SHA256] for part in parts)
    composite = f"{checksums.to_base64(hashlib.sha256(of_parts).digest())}-{len(parts)}"
    by_sha = confirm_object(StoredBody("opaque", {Algorithm.SHA256: composite}), parts)
    assert by_sha is not None
    assert (by_sha.kind, by_sha.value) == ("COMPOSITE", composite)
    by_etag = confirm_object(StoredBody(multipart_etag([part.digests[Algorithm.MD5] for part in parts])), parts)
    assert by_etag is not None
    assert by_etag.confirmed == "etag"
    assert confirm_object(StoredBody("opaque"), parts) is None
    with pytest.raises(TransferError, match="ChecksumMismatch"):
        confirm_object(StoredBody("", {Algorithm.CRC32: "AAAAAA=="}), object_parts([*pieces, b"more"]))


# --- errors


def client_error(code: str, status: int) -> aws.ClientError:
    answer = {"Error": {"Code": code, "Message": "\x1b[31mno"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return aws.ClientError(answer, "PutObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "code", "recovery"),
    [
        (client_error("SlowDown", 503), "SlowDown", Recovery.RETRY),
        (client_error("Whatever", 502), "Whatever", Recovery.RETRY),
        (client_error("429", 429), "429", Recovery.RETRY),
        (client_error("ExpiredToken", 400), "ExpiredToken", Recovery.NEEDS_ACTION),
        (client_error("KMS.SomethingNew", 400), "KMS.SomethingNew", Recovery.NEEDS_ACTION),
        (client_error("404", 404), "UnreadableAnswer", Recovery.RETRY),
        (client_error("Odd", 403), "Odd", Recovery.NEEDS_ACTION),
        (client_error("Odd", 400), "Odd", Recovery.NEEDS_ACTION),
        (client_error("NotImplemented", 501), "NotImplemented", Recovery.PERMANENT),
        (client_error("Odd", 501), "Odd", Recovery.NEEDS_ACTION),
        (aws.EndpointConnectionError(endpoint_url="http://x", error=OSError()), "ConnectionFailed", Recovery.RETRY),
        (aws.ConnectTimeoutError(endpoint_url="http://x", error=OSError()), "ConnectTimeout", Recovery.RETRY),
        (aws.ReadTimeoutError(endpoint_url="http://x", error=OSError()), "ReadTimeout", Recovery.RETRY),
        (aws.ConnectionClosedError(endpoint_url="http://x"), "ConnectionClosed", Recovery.RETRY),
        (
            aws.ConnectionClosedError(endpoint_url="http://x", error=Exception("aborted", TimeoutError("timed out"))),
            "WriteTimeout",
            Recovery.RETRY,
        ),
        (
            aws.SSLError(endpoint_url="x", error="CERTIFICATE_VERIFY_FAILED"),
            "CertificateRefused",
            Recovery.NEEDS_ACTION,
        ),
        (aws.SSLError(endpoint_url="x", error="EOF occurred"), "ConnectionClosed", Recovery.RETRY),
        (aws.NoCredentialsError(), "CredentialsMissing", Recovery.NEEDS_ACTION),
        (aws.ParamValidationError(report="x"), "ParameterRefused", Recovery.PERMANENT),
    ],
    ids=lambda value: str(value)[:40],
)
def test_errors_are_sorted(error: Exception, code: str, recovery: Recovery) -> None:
    sorted_error = classify(error)
    assert (sorted_error.code, sorted_error.recovery) == (code, recovery)
    assert "\x1b" not in sorted_error.message


def test_what_is_no_fault_of_the_transfer_is_a_bug() -> None:
    with pytest.raises(ZeroDivisionError):
        classify(ZeroDivisionError())


def test_errors_of_the_file_name_it() -> None:
    error = classify_file_error(FileNotFoundError(2, "No such file or directory"), "/a/\udcffb")
    assert (error.code, error.recovery) == ("FileNotFound", Recovery.PERMANENT)
    assert r"/a/\xffb" in error.message


@pytest.mark.parametrize("code", sorted(EXPLANATIONS))
def test_every_code_has_words(code: str) -> None:
    explanation = explain(code)
    assert explanation.message
    assert len(explanation.message) <= 50
    if explanation.recovery is Recovery.NEEDS_ACTION:
        assert explanation.advice
