"""The fixtures themselves: what every other test relies on. The three members: test_mongod."""

from __future__ import annotations


def test_database_has_pre_images_and_streams(database):
    database.create_collection("uploads", changeStreamPreAndPostImages={"enabled": True})
    with database.uploads.watch(full_document_before_change="required") as stream:
        database.uploads.insert_one({"_id": 1, "x": 1})
        database.uploads.update_one({"_id": 1}, {"$set": {"x": 2}})
        assert stream.next()["operationType"] == "insert"
        assert stream.next()["fullDocumentBeforeChange"] == {"_id": 1, "x": 1}


def test_bucket_takes_objects(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b/ü.txt", Body=b"hello")
    assert s3.get_object(Bucket=bucket, Key="a b/ü.txt")["Body"].read() == b"hello"
