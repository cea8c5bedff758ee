"""What records call an S3 service: one name for all addresses of it, and never the same for two."""

from __future__ import annotations

import pytest

from console.s3.address import bucket_within, endpoint_name, endpoint_of


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://minio.example:9000", "http://minio.example:9000"),
        ("HTTP://MinIO.Example.:9000/", "http://minio.example:9000"),
        ("https://s3.example.com:443", "https://s3.example.com"),
        ("http://s3.example.com:443", "http://s3.example.com:443"),
        ("http://localhost:80/", "http://127.0.0.1"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("https://gateway.example/s3/", "https://gateway.example/s3"),
        ("https://user:secret@s3.example.com/?key=secret", "https://s3.example.com"),
    ],
)
def test_one_name_for_all_ways_to_write_an_address(address: str, name: str) -> None:
    assert endpoint_name(address) == name


@pytest.mark.parametrize(
    "address",
    [
        "https://s3.amazonaws.com",
        "https://s3.eu-central-1.amazonaws.com",
        "https://s3-us-west-2.amazonaws.com",
        "https://s3.dualstack.eu-west-1.amazonaws.com",
        "https://s3-fips.dualstack.us-east-1.amazonaws.com",
        "https://s3-accelerate.amazonaws.com",
        "https://bucket.vpce-1a2b3c4d-5e6f.s3.us-east-1.vpce.amazonaws.com",
        "https://s3.eu-central-1.api.aws",
    ],
)
def test_bucket_names_of_aws_are_the_same_buckets_in_every_region(address: str) -> None:
    assert endpoint_name(address) == "https://s3.amazonaws.com"


def test_partitions_of_aws_and_other_servers_on_its_machines_are_services_of_their_own() -> None:
    addresses = [
        "https://s3.eu-central-1.amazonaws.com",
        "https://s3.us-gov-west-1.amazonaws.com",
        "https://s3.cn-north-1.amazonaws.com.cn",
        "http://ec2-203-0-113-7.compute-1.amazonaws.com:9000",
        "https://s3.amazonaws.com.example.org",
    ]
    assert len({endpoint_name(address) for address in addresses}) == len(addresses)


def test_people_say_which_addresses_lead_to_one_service() -> None:
    names = {"http://10.0.0.5:9000/": "https://s3.example.com", "http://10.0.0.6:9000": "https://s3.example.com"}
    inside, outside = endpoint_of("http://10.0.0.5:9000", names), endpoint_of("https://s3.example.com", names)
    assert inside.name == outside.name == "https://s3.example.com"
    assert set(inside.names) == set(outside.names)
    assert "http://10.0.0.6:9000" in inside.names
    assert endpoint_of("http://10.0.0.7:9000", names).names == ("http://10.0.0.7:9000",)


@pytest.mark.parametrize(
    ("address", "without"),
    [
        ("http://host:9000/photos", "http://host:9000"),
        ("http://host:9000/s3/photos/", "http://host:9000/s3"),
        ("https://photos.s3.eu-central-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com"),
        ("https://photos.fra1.digitaloceanspaces.com/", "https://fra1.digitaloceanspaces.com/"),
        ("http://host:9000", ""),
        ("http://host:9000/photos/more", ""),
        ("http://photos.example.com", ""),  # may well be a host of that name
        ("https://s3.photos.example.com", ""),
    ],
)
def test_an_address_that_holds_the_bucket_already(address: str, without: str) -> None:
    assert bucket_within(address, "photos") == without
