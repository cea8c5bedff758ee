"""One upload: from a file to an object that S3 has confirmed.

This room has the way of one upload (one request, or parts), how many requests go at once, duplicates, and the paths
that become documents (`intake`). It needs `s3` for the requests, `files` for reading, and `records` for the documents
that are made or compared (new uploads, orphans). It knows no claim and no lease: which uploads are carried out is
decided in `runner`, and what a transfer tells on its way goes through the journal that it is given.
"""
