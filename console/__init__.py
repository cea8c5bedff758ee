"""Upload operations console: uploads to S3, each one a MongoDB document, watched through its change stream."""

__version__ = "0.1.0"
