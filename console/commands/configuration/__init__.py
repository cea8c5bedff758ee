"""The commands about the configuration itself: one shows what holds and why, the other writes a first file."""
