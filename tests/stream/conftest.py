"""The servers of the tests of the records: a feed reads what they write."""

from tests.records.conftest import _records_database, faulty_mongod, faulty_uploads, guarded_mongod, uploads

__all__ = ["_records_database", "faulty_mongod", "faulty_uploads", "guarded_mongod", "uploads"]
