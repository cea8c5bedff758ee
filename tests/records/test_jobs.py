"""Jobs as the server counts them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bson import ObjectId

from console.job_totals import newest_jobs
from console.models import Upload, UploadStatus, read_upload
from console.records.uploads import Uploads

from .documents import new_upload

FIRST, SECOND, THIRD = (ObjectId(f"{number:024x}") for number in (1, 2, 3))


def add(uploads: Uploads, job: ObjectId | None, number: int, **fields: Any) -> list[ObjectId]:
    ids = uploads.add(replace(new_upload(size=100), batch=job, path=f"/srv/{job}/{index}") for index in range(number))
    if fields:
        uploads.collection.update_many({"_id": {"$in": ids}}, {"$set": fields})
    return ids


def test_the_newest_jobs_are_counted_by_the_server(uploads: Uploads) -> None:
    add(uploads, None, 2)
    add(uploads, FIRST, 1)
    add(uploads, SECOND, 3, status="completed", current=100)
    add(uploads, SECOND, 2, status="failed", error={"code": "FileGone", "message": "", "at": datetime.now(UTC)})
    add(uploads, SECOND, 1, status="uploading", current=10, sent=30, rate=5.0)
    add(uploads, THIRD, 2)
    third, second = uploads.jobs(newest=2)
    assert (third.id, third.files, third.is_over) == (THIRD, 2, False)
    assert second.id == SECOND
    assert second.name == f"/srv/{SECOND}"
    assert second.numbers == {UploadStatus.COMPLETED: 3, UploadStatus.FAILED: 2, UploadStatus.UPLOADING: 1}
    assert (second.size, second.done, second.sent, second.rate) == (600, 330, 300, 5.0)
    assert second.failures == {"FileGone": 2}
    assert second.seconds_left == 54.0
    assert [job.id for job in uploads.jobs(among=[FIRST, ObjectId()])] == [FIRST]
    assert uploads.jobs() == []


def test_a_job_with_odd_documents_is_counted_as_far_as_they_go(uploads: Uploads) -> None:
    [odd, _] = add(uploads, FIRST, 2)
    change = {"status": 7, "size": "large", "path": None, "rate": "fast", "finished_at": 1}
    collection = uploads.collection
    collection.update_one({"_id": odd}, {"$set": change}, bypass_document_validation=True)
    [job] = uploads.jobs(newest=9)
    assert (job.files, job.size) == (1, 100)


def test_the_newest_jobs_are_found_without_a_look_at_documents(uploads: Uploads) -> None:
    add(uploads, FIRST, 1)
    command = {"aggregate": uploads.collection.name, "pipeline": newest_jobs(10), "cursor": {}}
    plan = uploads.collection.database.command("explain", command, verbosity="queryPlanner")
    assert "DISTINCT_SCAN" in str(plan)


def test_a_job_is_known_of_each_of_its_uploads(uploads: Uploads) -> None:
    [upload_id] = add(uploads, FIRST, 1)
    upload = read_upload(uploads.get([upload_id])[0])
    assert isinstance(upload, Upload)
    assert upload.batch == FIRST
    assert [found["_id"] for found in uploads.waiting_after(None, f"job:{FIRST}", 9)] == [upload_id]
    assert uploads.waiting_after(None, f"job:{SECOND}", 9) == []
