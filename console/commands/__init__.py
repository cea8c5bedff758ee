"""What each command does; `cli` parses and calls."""
