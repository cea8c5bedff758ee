"""What is asked of S3, its errors, and what it confirms. Knows no MongoDB."""
