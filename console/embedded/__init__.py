"""A local mongod and a local S3 server for `demo`, `services` and the tests."""
