"""A local mongod and a local S3 server for `demo`, `services` and the tests.

This room starts and ends the programs, so that they never outlive the console, and keeps their folder. The
other rooms connect to them as to any server.
"""
