"""S3: part plan, sending, checksums, errors and the runner that owns uploads."""
