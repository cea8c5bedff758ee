"""Watched folders: events, files that are complete, what becomes of each, moving and deleting afterwards.

This room needs `files` for walking, `records` for what was sent already, `stream` for how uploads ended, and a sender
for comparing. It sends nothing: it inserts documents, and a runner of the host carries them out. A watch's rule as a
setting is in `settings.watch_rules`.
"""
