"""`upload` of some files only, lists of files, refusals with reasons, and the dry run: on the real servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from console.commands.console.session import Session
from console.commands.console.upload_plan import usual_choices
from console.models import Upload
from console.records.database import Records
from console.settings import load
from console.transfer.sender import S3Sender
from tests.commands.conftest import Command

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files of several kinds and sizes."""
    top = tmp_path / "site"
    for name, size in {
        "index.html": 400,
        "style.css": 300,
        "draft.html": 200,
        ".hidden": 100,
        "build/app.js": 5000,
        "build/app.js.map": 9000,
    }.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * size)
    return top


def _keys(s3: S3Client, bucket: str) -> list[str]:
    return [found["Key"] for found in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def _lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_only_what_is_meant_is_uploaded(command: Command, tree: Path, s3: S3Client, bucket: str) -> None:
    answer = command(
        *("upload", f"{tree}/", "--exclude", "*.map", "--exclude", "draft*", "--ignore-temporary"),
        *("--larger", "300", "--smaller", "1 MiB", "--newer", "1h"),
    )
    assert answer.code == 0, answer.err
    assert _keys(s3, bucket) == ["site/build/app.js", "site/index.html"]


def test_what_is_not_accepted_is_refused_with_its_reason(
    command: Command, tree: Path, s3: S3Client, bucket: str
) -> None:
    (tree / "photo.png").write_text("no picture")
    answer = command(
        "upload", str(tree), "--extensions", "html", "--extensions", "png", "--content-types", "text/html", "--json"
    )
    assert answer.code == 1
    refused = {Path(line["path"]).name: line["message"] for line in _lines(answer.out) if line["event"] == "refused"}
    assert refused["style.css"] == "its extension is not allowed (.html, .png)"
    assert "its type is not allowed (text/plain by content" in refused["photo.png"]
    assert _keys(s3, bucket) == ["site/draft.html", "site/index.html"]


def test_a_list_names_what_is_uploaded(command: Command, tree: Path, tmp_path: Path, s3: S3Client, bucket: str) -> None:
    answer = command("upload", str(tree), "--files-from", "-", typed="build/app.js\0index.html\0")
    assert answer.code == 0, answer.err
    assert _keys(s3, bucket) == ["build/app.js", "index.html"]
    listing = tmp_path / "list.txt"
    listing.write_text("style.css\n")
    assert command("upload", str(tree), "--files-from", str(listing)).code == 0
    assert "style.css" in _keys(s3, bucket)
    wrong = command("upload", str(tree), str(tmp_path), "--files-from", "-")
    assert wrong.code == 2
    assert command("upload").code == 2


def test_a_dry_run_says_what_it_would_do_and_does_nothing(
    command: Command, tree: Path, records: Records, s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key="site/index.html", Body=b"before")
    answer = command(
        "upload", str(tree), "--exclude", "build/", "--max-size", "350", "--ignore-temporary", "--dry-run", "--json"
    )
    assert answer.code == 1
    told = {Path(line["path"]).name: line for line in _lines(answer.out)}
    assert {name: line["event"] for name, line in told.items()} == {
        ".hidden": "left_out",
        "build": "left_out",
        "draft.html": "would_upload",
        "index.html": "refused",
        "style.css": "would_upload",
    }
    assert told["build"]["message"] == "excluded by a pattern"
    assert told["style.css"]["destination"] == f"s3://{bucket}/site/style.css"
    assert told["style.css"]["exists"] is False
    shown = command("upload", str(tree), "--dry-run").out
    assert "/site/index.html (400 B): would overwrite 6 B of 20" in shown
    assert "6 would be uploaded, 0 left out, 0 refused" in shown
    failing = command("upload", str(tree), "--dry-run", "--duplicates", "fail")
    assert "would fail, as there is 6 B" in failing.out
    assert "5 would be uploaded, 0 left out, 0 refused, 1 would fail" in failing.out
    assert failing.code == 1
    assert _keys(s3, bucket) == ["site/index.html"]
    assert records.uploads.collection.count_documents({}) == 0


def test_a_listing_finds_keys_in_any_order_with_few_requests(s3: S3Client, bucket: str) -> None:
    from console.s3.object_listing import ObjectListing

    names = [f"d/{number:03d}" for number in range(40)]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode())
    listing = ObjectListing(s3, bucket)
    assert [found.key for name in names if (found := listing.find(name)) is not None] == names
    assert listing.find("d/0005") is None
    assert listing.find("a") is None
    assert listing.find("e") is None
    assert listing.requests <= 3
    assert [found.key for found in listing.below("d/00")] == names[:10]


def test_what_flags_say_of_an_object_is_recorded_and_kept(
    command: Command, tree: Path, records: Records, s3: S3Client, bucket: str
) -> None:
    answer = command(
        *("upload", str(tree / "index.html"), "--metadata", "team=media", "--preserve", "mtime"),
        *("--header", "*.html Content-Type: text/html; charset=utf-8", "--header", "*.css Cache-Control: no-cache"),
    )
    assert answer.code == 0, answer.err
    head = s3.head_object(Bucket=bucket, Key="index.html")
    metadata = {name.lower(): value for name, value in head["Metadata"].items()}
    assert metadata["team"] == "media"
    assert float(metadata["mtime"]) == pytest.approx((tree / "index.html").stat().st_mtime)
    document = records.uploads.collection.find_one({})
    assert document is not None
    assert document["content_type"] == "text/html; charset=utf-8"
    assert document["storage"] == {"metadata": {"team": "media"}, "preserve": ["mtime"]}
    assert records.uploads.seals.is_own_request(Upload.model_validate(document))


def test_what_is_marked_in_the_console_is_selected_and_accepted_alike(
    environment: dict[str, str], tree: Path, records: Records
) -> None:
    told = {
        "select.exclude": ["*.map", "draft*"],
        "accept.extensions": [".html", ".js"],
        "headers": [{"pattern": "*.js", "cache_control": "no-cache"}],
    }
    settings = load(None, environment, told)
    session = Session(settings, records, S3Sender(settings.s3, settings.transfer))
    choices = usual_choices(settings)
    assert session.backend.plan_uploads([str(tree)], choices, lambda _: True).awaited == 0
    added = session.backend.add_uploads([str(tree)])
    planned = session.backend.plan_uploads([str(tree)], choices, lambda _: True)
    assert (planned.awaited, planned.files, planned.refused, planned.unknown) == (2, 2, 2, "")
    found = {document["filename"]: document for document in records.uploads.collection.find({})}
    session.close()
    assert added.uploads == 2
    refused = {Path(refusal.path).name: refusal.reason for refusal in added.refusals}
    assert refused == dict.fromkeys(("style.css", ".hidden"), "its extension is not allowed (.html, .js)")
    assert set(found) == {"index.html", "app.js"}
    assert found["app.js"]["storage"] == {"cache_control": "no-cache"}


def test_a_dry_run_says_which_of_two_files_would_get_a_number(command: Command, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text(name)
    paths = [str(tmp_path / name / "x") for name in ("one", "two")]
    answer = command("upload", *paths, "--duplicates", "new_name", "--dry-run")
    assert answer.code == 0
    first, second, _ = answer.out.splitlines()
    assert "number" not in first
    assert second.endswith("would get a number, as another of these files has the key")
