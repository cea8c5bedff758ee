"""Credentials that cannot be fetched are a failure with words, whatever went wrong underneath."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, CredentialRetrievalError

from console.s3.credentials import RenewedCredentials
from console.s3.transfer_errors import classify


class Broken:
    method = "assume-role-with-web-identity"

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_frozen_credentials(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [FileNotFoundError(2, "No such file or directory", "/token"), ValueError("no JSON"), KeyError("AccessKeyId")],
)
def test_a_provider_that_fails_in_its_own_way_has_words(error: Exception) -> None:
    credentials = RenewedCredentials(Broken(error), lambda: None, [])
    with pytest.raises(CredentialRetrievalError) as caught:
        credentials.get_frozen_credentials()
    failure = classify(caught.value)
    assert failure.code == "CredentialsUnavailable"
    assert str(error) in failure.message
    assert failure.advice


@pytest.mark.parametrize(
    ("operation", "right"),
    [
        ("PutObject", "s3:PutObject"),
        ("UploadPart", "s3:PutObject"),
        ("AbortMultipartUpload", "s3:AbortMultipartUpload"),
        ("HeadObject", "s3:GetObject"),
        ("ListParts", "s3:ListMultipartUploadParts"),
        ("ListObjectsV2", "s3:ListBucket"),
        ("GetBucketVersioning", "s3:GetBucketVersioning"),
        ("AssumeRoleWithWebIdentity", "sts:AssumeRoleWithWebIdentity"),
    ],
)
def test_a_refusal_names_the_right_that_is_missing(operation: str, right: str) -> None:
    def refused(message: str) -> str:
        return classify(
            ClientError(
                {"Error": {"Code": "AccessDenied", "Message": message}, "ResponseMetadata": {"HTTPStatusCode": 403}},  # type: ignore[typeddict-item]
                operation,
            )
        ).message

    assert refused("Access Denied.") == f"Access Denied ({operation} needs {right})"
    told = "User: arn:aws:iam::1:user/x is not authorized to perform: kms:GenerateDataKey"
    assert refused(told) == told  # AWS names it itself, and it may be another one
