"""Change streams: how one is started and resumed, what the server can do, and where there is a gap.

A `ChangeFeed` reads in a thread of its own and hands over batches of items. This room needs `records` for the
connection and `events` for the values; who shows the items, and what a runner makes of them, lives elsewhere.
"""
