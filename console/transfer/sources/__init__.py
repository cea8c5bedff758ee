"""Sources of bytes that are no plain file.

Needs the rest of `transfer`, whose steps it puts together anew; it is used by commands alone.
"""
