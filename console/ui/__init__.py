"""The Textual screens. Views of records; knows no S3 and no worker."""
