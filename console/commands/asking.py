"""Asking the person at the terminal before something is removed.

Owns the question and its answer. Not here: what a command does where nobody can be asked.
"""

from __future__ import annotations

import sys


def can_ask() -> bool:
    """Whether somebody is there to answer."""
    return sys.stdin.isatty()


def agreed(question: str) -> bool:
    """Ask on standard error; anything but a yes is a no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
