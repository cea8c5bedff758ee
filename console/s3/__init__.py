"""What is asked of S3, its errors, and what it confirms.

This room has the clients, every request but the two that carry bodies (`engines` has those), checksums, the size of
parts, retries, and the sorting of errors. It needs `files`, and knows no MongoDB and no
document's state.
"""
