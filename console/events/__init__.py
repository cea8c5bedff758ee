"""Change events as values: compare, filter, buffer, record.

This room needs no server and no screen: events are read by `stream` and drawn by `ui`.
"""
