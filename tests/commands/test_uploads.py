"""`upload`, `list`, `verify`, `delete`, and the intents, from the first file to the last."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bson import ObjectId

from console.errors import ConfigurationError, UsageError
from console.models import Source, UploadStatus
from console.records import runners
from console.records.database import Records
from console.records.identity import this_host
from console.records.runners import Limits
from console.records.transitions import failed
from console.records.uploads import NewUpload
from tests.watch.waiting import until

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from tests.commands.conftest import Answer, Command


def new_upload(path: Path, bucket: str, host: str = "elsewhere") -> NewUpload:
    """A pending upload of a host where no runner is, so that nothing happens to it by itself."""
    return NewUpload(
        filename=path.name,
        path=str(path),
        path_bytes=None,
        host=host,
        size=7,
        mtime_ns=1,
        fingerprint="1-7-1",
        content_type="text/plain",
        bucket=bucket,
        key=path.name,
        source=Source.COMMAND,
    )


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_upload_a_folder_then_list_verify_and_delete_it(
    command: Command, folder: Path, bucket: str, s3: S3Client
) -> None:
    sent = command("upload", str(folder), "--json")
    assert sent.code == 0, sent.err
    completed = {line["path"]: line for line in lines(sent.out) if line["event"] == "completed"}
    assert len(completed) == 3
    assert "\x1b" not in sent.out
    assert all(os.path.exists(path) for path in completed)

    listed = lines(command("list", "--json").out)
    assert {document["status"] for document in listed} == {"completed"}
    for document in listed:
        body = s3.get_object(Bucket=bucket, Key=str(document["key"]))["Body"].read()
        assert body == Path(str(document["path"])).read_bytes()

    assert command("verify", "--all").code == 0
    (folder / "inner" / "letter.txt").write_text("dear XX")
    different = command("verify", "--all", "--json")
    assert different.code == 1
    assert [line["same"] for line in lines(different.out)].count(False) == 1

    gone = command("delete", "--all", "--yes")
    assert gone.code == 0, gone.err
    assert command("list").out == "No uploads.\n"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_what_cannot_be_uploaded_is_named_and_the_rest_is_uploaded(command: Command, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    answer = command("upload", str(folder), str(folder / "nothing"), "--json")
    assert answer.code == 1
    refused = {
        Path(str(line["path"])).name: line["message"] for line in lines(answer.out) if line["event"] == "refused"
    }
    assert refused == {"pipe": "a named pipe", "nothing": "does not exist"}
    assert sum(line["event"] == "completed" for line in lines(answer.out)) == 3


def test_a_name_that_is_no_utf8_is_uploaded_under_an_escaped_key(
    command: Command, tmp_path: Path, bucket: str, s3: S3Client
) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.txt")
    with open(path, "wb") as file:
        file.write(b"latin-1")
    assert command("upload", os.fsdecode(path), "--json").code == 0
    assert s3.get_object(Bucket=bucket, Key="caf%E9.txt")["Body"].read() == b"latin-1"
    assert "caf\\xe9.txt" in command("list").out


def test_another_destination(command: Command, folder: Path, bucket: str, s3: S3Client) -> None:
    assert command("upload", str(folder / "inner"), "--to", f"s3://{bucket}/by hand/", "--json").code == 0
    assert s3.get_object(Bucket=bucket, Key="by hand/inner/letter.txt")["Body"].read() == b"dear S3"
    wrong = command("upload", str(folder), "--to", "https://example.com")
    assert isinstance(wrong.error, UsageError)
    assert wrong.code == 2


def test_a_policy_for_this_destination(command: Command, folder: Path, records: Records) -> None:
    letter = str(folder / "inner" / "letter.txt")
    assert command("upload", letter, "--json").code == 0
    again = command("upload", letter, "--duplicates", "fail", "--json")
    assert again.code == 1
    assert [line["code"] for line in lines(again.out) if line["event"] == "failed"] == ["ObjectExists"]
    assert command("upload", letter, "--duplicates", "new_name", "--json").code == 0
    assert {document["key"] for document in records.uploads.find({"status": "completed"})} == {
        "letter.txt",
        "letter-2.txt",
    }


def test_detached_uploads_are_only_recorded(command: Command, folder: Path, records: Records) -> None:
    answer = command("upload", str(folder), "--detach")
    assert answer.code == 0
    assert answer.out == "3 uploads recorded.\n"
    assert records.uploads.counts()[UploadStatus.PENDING] == 3
    resumed = command("resume", "--all", "--json")
    assert resumed.code == 0, resumed.err
    assert records.uploads.counts()[UploadStatus.COMPLETED] == 3


def test_pause_resume_cancel_retry(command: Command, records: Records, tmp_path: Path, bucket: str) -> None:
    path = tmp_path / "later.txt"
    [upload_id] = records.uploads.add([new_upload(path, bucket)])
    status = lambda: records.uploads.get([upload_id])[0]["status"]  # noqa: E731
    assert command("pause", str(upload_id)).out == "1 upload told to pause.\n"
    assert status() == "paused"
    assert command("resume", str(upload_id)[-8:], "--detach").code == 0
    assert status() == "pending"
    assert command("cancel", str(upload_id)).code == 0
    assert status() == "cancelled"
    refused = command("pause", str(upload_id), "--json")
    assert refused.code == 1
    assert lines(refused.out) == [{"intent": "pause", "changed": 0, "refused": {str(upload_id): "cancelled"}}]
    assert command("retry", str(upload_id), "--detach").code == 0
    assert status() == "pending"


@pytest.mark.parametrize(
    ("before", "name", "said"), [("pause", "resume", "resumed"), ("cancel", "retry", "to be tried again")]
)
def test_what_stays_says_what_is_wanted_and_what_became_of_it(
    command: Command, folder: Path, before: str, name: str, said: str
) -> None:
    assert command("upload", str(folder), "--detach").code == 0
    assert command(before, "--all").code == 0
    answer = command(name, "--all", "--json")
    assert (answer.code, answer.err) == (0, "")
    changed, *told = lines(answer.out)
    assert changed["changed"] == 3
    completed = [line for line in told if line["event"] == "completed"]
    assert len(completed) == 3
    again = command(name, str(completed[0]["id"]))
    assert (again.code, again.out) == (1, f"0 uploads {said}.\n")
    assert "wait until they finish" in " ".join(command(name, "--help").out.split())


def test_priority(command: Command, records: Records, tmp_path: Path, bucket: str) -> None:
    ids = records.uploads.add([new_upload(tmp_path / name, bucket) for name in ("a", "b", "c")])
    priorities = lambda: [records.uploads.get([upload_id])[0]["priority"] for upload_id in ids]  # noqa: E731
    assert command("priority", *map(str, ids[:2]), "--by", "5").out == "2 uploads given another priority.\n"
    assert priorities() == [5, 5, 0]
    raised = command("priority", "--match", '{"filename": "b"}', "--json")
    assert lines(raised.out) == [{"intent": "priority", "changed": 1, "refused": {}}]
    assert command("priority", str(ids[0]), "--by", "-7").code == 0
    assert priorities() == [-2, 6, 0]
    assert [document["_id"] for document in records.uploads.waiting_after(None, "", 3)] == [ids[1], ids[2], ids[0]]


def test_limits_of_runners_at_work(command: Command, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "LIVE_SECONDS", 600)  # nobody is there to beat again
    assert command("limits").code == 1
    for name in ("here:1:a", "there:2:b"):
        records.runners.heartbeat(name, name.split(":")[0], "console", Limits(0, 4, 8), {})
    shown = lines(command("limits", "--json").out)
    assert [(line["runner"], line["bandwidth"], line["uploads"], line["parts"]) for line in shown] == [
        ("here:1:a", 0, 4, 8),
        ("there:2:b", 0, 4, 8),
    ]
    changed = command("limits", "there", "--bandwidth", "5MiB", "--uploads", "2")
    assert changed.out == "there:2:b  console  5.00 MiB/s  2 uploads  8 parts\n"
    found = {state.runner: state.limits for state in records.runners.live()}
    assert found == {"here:1:a": Limits(0, 4, 8), "there:2:b": Limits(5 * 1024 * 1024, 2, 8)}
    wrong = command("limits", "--bandwidth", "much", "--parts", "3")
    assert isinstance(wrong.error, UsageError)
    assert {state.limits.parts for state in records.runners.live()} == {8}
    assert command("limits", "nobody").code == 1


def test_what_is_selected(command: Command, records: Records, tmp_path: Path, bucket: str) -> None:
    ids = records.uploads.add([new_upload(tmp_path / name, bucket) for name in ("a", "b", "c")])
    assert isinstance(command("pause").error, UsageError)
    assert command("pause", "--match", '{"filename": "b"}').out == "1 upload told to pause.\n"
    assert [line["filename"] for line in lines(command("list", "--status", "paused", "--json").out)] == ["b"]
    assert "no upload id ends in" in str(command("pause", "00000000").error)
    assert "is not a valid upload id" in str(command("pause", "what").error)
    assert "is not one of pending" in str(command("list", "--status", "done").error)
    for wrong, words in [
        ("{", "not extended JSON"),
        ('{"_id": {"$oid": "x"}}', "not extended JSON"),
        ('{"size": {"$numberDecimal": "x"}}', "not extended JSON"),
        ('{"size": 99999999999999999999}', "not BSON"),
        ('{"$foo": 1}', "unknown top level operator: $foo"),
        ('{"filename": {"$regex": "("}}', "Regular expression is invalid"),
    ]:
        for name in ("list", "pause"):
            answer = command(name, "--match", wrong)
            assert (answer.code, isinstance(answer.error, UsageError)) == (2, True), answer
            assert words in str(answer.error)
    unknown = command("cancel", str(ObjectId()))
    assert unknown.code == 1
    assert "no such upload" in unknown.err
    assert len(ids) == 3


def test_an_end_that_several_ids_have_names_none(
    command: Command, records: Records, tmp_path: Path, bucket: str
) -> None:
    first, second = ObjectId("6b0a00000000000000abcdef"), ObjectId("6b0b00000000000000abcdef")
    for upload_id in (first, second):
        document = new_upload(tmp_path / str(upload_id), bucket).document(datetime.now(UTC))
        records.uploads.collection.insert_one({**document, "_id": upload_id})
    assert "more than one upload id ends in abcdef" in str(command("pause", "abcdef").error)
    assert command("pause", str(first)[-22:]).out == "1 upload told to pause.\n"
    assert {d["_id"]: d["status"] for d in records.uploads.find({})} == {first: "paused", second: "pending"}


def test_delete_leaves_the_object_of_a_later_upload(
    command: Command, folder: Path, records: Records, bucket: str, s3: S3Client
) -> None:
    letter = folder / "inner" / "letter.txt"
    for _ in range(3):
        assert command("upload", str(letter), "--json").code == 0
    newest, middle, oldest = (str(document["_id"]) for document in records.uploads.find({}))
    why = f"the object is that of upload {newest}, which completed later"
    text = command("delete", oldest, "--yes")
    assert (text.code, text.out, text.err) == (0, "1 upload deleted.\n", f"  {oldest}: only the record: {why}\n")
    as_json = command("delete", middle, "--yes", "--json")
    assert lines(as_json.out) == [{"intent": "delete", "changed": 1, "refused": {}, "kept": {middle: why}}]
    assert s3.get_object(Bucket=bucket, Key="letter.txt")["Body"].read() == b"dear S3"
    assert command("delete", newest, "--yes").err == ""
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


def test_delete_asks_first(command: Command, records: Records, tmp_path: Path, bucket: str) -> None:
    [upload_id] = records.uploads.add([new_upload(tmp_path / "kept", bucket)])
    without_terminal = command("delete", str(upload_id))
    assert isinstance(without_terminal.error, UsageError)
    assert records.uploads.get([upload_id])


def test_documents_of_others_are_listed_as_what_they_are(command: Command, records: Records) -> None:
    records.uploads.collection.insert_one({"filename": "x"}, bypass_document_validation=True)
    answer = command("list")
    assert answer.code == 0
    assert "unreadable" in answer.out


def test_no_bucket_is_a_wrong_configuration(command: Command, folder: Path) -> None:
    answer = command("upload", str(folder), "--bucket", "")
    assert isinstance(answer.error, ConfigurationError)
    assert "bucket" in answer.error.message


def test_sweep_leaves_the_young_alone_and_never_asks_without_a_terminal(
    command: Command, s3: S3Client, bucket: str
) -> None:
    s3.create_multipart_upload(Bucket=bucket, Key="left behind")
    answer = command("sweep")
    assert answer.code == 0
    assert "No multipart upload" in answer.out
    answer = command("sweep", "--older-than", "0")
    assert answer.code == 0
    assert "left behind" in answer.out
    assert "Add --yes" in answer.err
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 1


def test_retry_waits_for_no_host_where_nobody_sends(
    command: Command, records: Records, tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload of a host that is gone, or of no host at all, would be waited for without an end."""
    (tmp_path / "here").write_text("dear S3")
    assert command("upload", str(tmp_path / "here"), "--detach").code == 0
    for host in ("elsewhere", "", "there"):
        records.uploads.add([new_upload(tmp_path / f"of {host}", bucket, host)])
    assert command("cancel", "--all").code == 0
    answer = command("retry", "--all", "--json")
    refused = {line["path"]: line["message"] for line in lines(answer.out) if line.get("event") == "refused"}
    assert answer.code == 1
    assert refused == {
        str(tmp_path / f"of {host}"): f"waits for a runner on {host}" for host in ("elsewhere", "", "there")
    }
    assert [line["path"] for line in lines(answer.out) if line.get("event") == "completed"] == [str(tmp_path / "here")]
    assert records.uploads.counts()[UploadStatus.PENDING] == 3
    monkeypatch.setattr(runners, "LIVE_SECONDS", 600)  # nobody is there to beat again
    records.runners.heartbeat("there:1:x", "there", "console", Limits(0, 4, 8), {})
    answered = command_ending_others(command, records, "there")
    assert answered.code == 1
    assert {line["path"] for line in lines(answered.out) if line.get("event") == "refused"} == {
        str(tmp_path / f"of {host}") for host in ("elsewhere", "")
    }


def command_ending_others(command: Command, records: Records, host: str) -> Answer:
    """`resume --all`, while a runner of that host ends its upload as failed once the command waits for no other."""

    def end() -> None:
        wanted = {"host": host, "status": "pending"}
        until(lambda: records.runners.live(this_host(), ["command"]))
        records.uploads.collection.update_one(wanted, [{"$set": failed("Example", "x", multipart_gone=True)}])

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(end)
        answer = command("resume", "--all", "--json")
        ended.result()
    return answer


def test_a_record_that_cannot_be_read_is_named_and_not_waited_for(
    command: Command, records: Records, tmp_path: Path, bucket: str
) -> None:
    [upload_id] = records.uploads.add([new_upload(tmp_path / "a", bucket, this_host())])
    wrong = {"$set": {"checksum": 7, "status": "failed"}}
    records.uploads.collection.update_one({"_id": upload_id}, wrong, bypass_document_validation=True)
    answer = command("retry", str(upload_id), "--json")
    assert answer.code == 1
    assert "its record cannot be read: checksum" in answer.err


@pytest.mark.parametrize("arguments", [("upload", ""), ("upload", "", "--dry-run"), ("watch", "--once", "")])
def test_a_path_that_is_empty_is_not_the_current_folder(
    command: Command, records: Records, folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(folder)
    answer = command(*arguments)
    assert answer.code == 2
    assert "a path is empty" in answer.err + str(answer.error)
    assert records.uploads.find({}) == []
