"""The commands about the configuration itself: `config` shows what holds and why, `init` writes a first file."""
