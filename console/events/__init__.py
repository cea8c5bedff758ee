"""Change events as values: compare, filter, buffer, record. No server, no screen."""
