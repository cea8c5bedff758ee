"""Object keys: templates, what makes a key valid, and numbered names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.errors import ConfigurationError
from console.files.naming import numbered
from console.settings.key_template import MAX_KEY_BYTES, KeyFacts, KeyRefused, KeyTemplate, clean_key, parse_destination

FACTS = KeyFacts("photos/März 1/é.tar.gz", 12, 1_700_000_000_000_000_000, "db-1", "in/")
NOW = datetime(2026, 3, 4, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("{prefix}/{relative_path}", "in/photos/März 1/é.tar.gz"),
        ("{prefix}/{date:%Y/%m/%d}/{filename}", "in/2026/03/04/é.tar.gz"),
        ("/{host}//{stem}_{size}{suffix}/", "db-1/é.tar_12.gz"),
        ("{parent}/{mtime:%H}", "photos/März 1/22"),
        ("{date}{{x}}/{filename}", "2026-03-04{x}/é.tar.gz"),
    ],
)
def test_templates(template: str, key: str) -> None:
    assert KeyTemplate.parse(template).key(FACTS, NOW) == key


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{prefx}/x", "unknown field {prefx}"),
        ("{}", "unknown field {}"),
        ("{filename.x}", "unknown field {filename.x}"),
        ("{filename!r}", "conversions"),
        ("{size:>10}", "only {date} and {mtime}"),
        ("{date:Y}", "expected a format"),
        ("{filename", "'}'"),
        ("all", "the same key"),
    ],
)
def test_wrong_templates_are_named(template: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        KeyTemplate.parse(template)
    assert complaint in caught.value.message
    assert "transfer.key_template" in caught.value.message


@given(st.text(st.characters(codec=None), max_size=400))
def test_a_key_is_fit_for_s3_or_refused(text: str) -> None:
    try:
        key = clean_key(text)
    except KeyRefused:
        return
    assert 0 < len(key.encode()) <= MAX_KEY_BYTES
    assert all(segment not in ("", ".", "..") for segment in key.split("/"))
    assert not any(character < " " for character in key)


def test_bytes_that_are_no_utf8_are_written_as_such() -> None:
    assert clean_key(b"caf\xe9/\n.txt".decode("utf-8", "surrogateescape")) == "caf%E9/%0A.txt"


@given(st.lists(st.text("a%F205\udcff\udce9\x01\x7f", min_size=1, max_size=6), min_size=2, max_size=2, unique=True))
def test_two_names_never_get_one_key(names: list[str]) -> None:
    template = KeyTemplate.parse("{prefix}/{relative_path}")
    first, second = (template.key(KeyFacts(name, 1, 1, "h", "p")) for name in names)
    assert first != second


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("100%.txt", "100%.txt"),
        ("a%20b%2Fc%c3.txt", "a%20b%2Fc%c3.txt"),
        ("n%FFx", "n%25FFx"),
        ("n\udcffx", "n%FFx"),
        ("n%25FFx", "n%2525FFx"),
    ],
)
def test_only_names_that_look_escaped_are_escaped(name: str, key: str) -> None:
    assert KeyTemplate.parse("{filename}").key(KeyFacts(name, 1, 1, "h")) == key


@pytest.mark.parametrize(
    ("template", "keeps_apart"),
    [
        ("{prefix}/{relative_path}", True),
        ("{host}/x/{relative_path}.bak", True),
        ("{prefix}/{filename}", False),
        ("{date}/{relative_path}", False),
        ("{relative_path}{relative_path}", False),
    ],
)
def test_which_templates_keep_paths_apart(template: str, keeps_apart: bool) -> None:
    assert KeyTemplate.parse(template).keeps_paths_apart is keeps_apart


@pytest.mark.parametrize("text", ["", "//", "a/../b", "./a", "x" * 1025, "é" * 513])
def test_keys_that_are_refused(text: str) -> None:
    with pytest.raises(KeyRefused):
        clean_key(text)


@pytest.mark.parametrize(
    ("key", "next_key"),
    [
        ("a/b.tar.gz", "a/b-2.tar.gz"),
        ("b", "b-2"),
        ("a.d/b", "a.d/b-2"),
        ("a/.profile", "a/.profile-2"),
    ],
)
def test_numbered_names(key: str, next_key: str) -> None:
    assert numbered(key, 2) == next_key


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/", ("bucket", "")),
        ("S3://bucket/x", ("bucket", "x")),
        ("s3://arn:aws:s3:eu-central-1:1:accesspoint:a/x/y", ("arn:aws:s3:eu-central-1:1:accesspoint:a", "x/y")),
        ("s3://my.bucket-1/by hand/2026/", ("my.bucket-1", "by hand/2026")),
        ("s3://bucket/what?#not a fragment", ("bucket", "what?#not a fragment")),
    ],
)
def test_a_destination(url: str, destination: tuple[str, str]) -> None:
    assert parse_destination(url) == destination


@pytest.mark.parametrize("url", ["", "bucket/x", "s3:/b", "s3://", "s3:///x", "s3://[b/a", "https://b/x", "s3://b\n/x"])
def test_what_is_no_destination(url: str) -> None:
    with pytest.raises(ValueError, match="expected s3://bucket or s3://bucket/prefix"):
        parse_destination(url)


def test_a_key_may_have_1024_bytes_and_no_more() -> None:
    assert clean_key("é" * 512) == "é" * 512
    with pytest.raises(KeyRefused):
        clean_key("é" * 512 + "x")


@pytest.mark.parametrize(
    ("template", "prefix", "beginning"),
    [
        ("{prefix}/{relative_path}", "", ""),
        ("{prefix}/{relative_path}", "team", "team/"),
        ("{prefix}/{relative_path}", "/a//b/", "a/b/"),
        ("{prefix}{relative_path}", "team", "team"),
        ("archive/{prefix}/{host}/{filename}", "team", "archive/team/"),
        ("in-{host}/{filename}", "team", "in-"),
        ("{relative_path}", "team", ""),
    ],
)
def test_what_the_keys_of_a_template_begin_with(template: str, prefix: str, beginning: str) -> None:
    parsed = KeyTemplate.parse(template)
    assert parsed.beginning(prefix) == beginning
    assert parsed.key(KeyFacts("d/f.txt", 1, 0, "h", prefix)).startswith(beginning)
