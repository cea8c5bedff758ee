"""The command palette: every key of the screen by its name, its sentence, and words that people look for instead.

A command is found by parts of words, in any order, and shows its key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from textual.app import SystemCommand
from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content

# Of each theme: they are found by name, and not listed among all that can be done.
THEME_SENTENCE: Final = "Look like this from now on."

# What people call an action that has another name here; of the action's name without its arguments, or with them.
_ALSO: Final = {
    "keys": "help manual shortcuts",
    "limits": "bandwidth speed rate throttle slow parallel",
    "act('link')": "download share url presigned",
    "watches": "folder watch automatic incoming",
    "runners": "hosts processes workers",
    "sweep": "orphans clean unfinished",
    "act('cancel')": "stop abort",
    "act('resume')": "continue start",
    "act('verify')": "checksum compare integrity",
    "act('delete')": "remove object",
    "leave": "quit exit close",
    "views": "failed active saved",
    "theme": "colour color dark light",
    "filter": "find search",
    "only_document": "history upload",
}


def also(action: str) -> str:
    """Further words for an action."""
    name = action.rpartition(".")[2]
    return _ALSO.get(name) or _ALSO.get(name.partition("(")[0], "")


class CommandSearch(Provider):
    """Looks through the application's commands by all that is said of them."""

    async def discover(self) -> Hits:
        for command in sorted(self._commands(), key=lambda command: command.title):
            if command.help == THEME_SENTENCE:
                continue
            yield DiscoveryHit(Content(command.title), command.callback, text=command.title, help=command.help)

    async def search(self, query: str) -> Hits:
        words = query.casefold().split()
        for command in self._commands():
            title, sentence = command.title.casefold(), command.help.casefold()
            if not all(word in title or word in sentence for word in words):
                continue
            in_title = sum(word in title for word in words)
            at_begin = any(part.startswith(word) for word in words for part in title.split())
            yield Hit(
                0.5 + 0.4 * in_title / max(1, len(words)) + 0.1 * at_begin,
                Content(command.title),
                command.callback,
                text=command.title,
                help=command.help,
            )

    def _commands(self) -> Iterator[SystemCommand]:
        yield from self.app.get_system_commands(self.screen)
