"""How bodies are read and sent: through boto3, and small ones over connections of our own."""
