"""How bodies are read from files and sent to S3: one `Engine` for each library that can send them."""
