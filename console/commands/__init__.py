"""What each command does; `cli` parses and calls.

This room puts the others together: it opens records, sender, runner and feed from the settings, and closes them. It is
the only room that knows both the screens and what works behind them.
"""
