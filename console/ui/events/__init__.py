"""The event log and one event in detail."""
