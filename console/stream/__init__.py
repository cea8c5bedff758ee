"""Change streams: how one is started and resumed, what the server can do, and where there is a gap.

A `Feed` reads in a thread of its own and hands over batches of items; who shows them lives elsewhere.
"""
