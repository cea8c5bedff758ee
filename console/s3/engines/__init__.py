"""How bodies are read and sent: through boto3, and small ones over connections of our own.

This room has the two requests that carry bytes, and bandwidth. An engine makes one attempt and verifies nothing:
retries are in `s3.retry`, what an answer confirms in `s3.confirmation`.
"""
