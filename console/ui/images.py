"""What an event lacks, why, and turning on what is needed to have it next time.

Owns the sentences above a comparison and the question before `collMod`. Not here: what a server knows about the images
of a collection (`console.records.images`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from console.events.event import ChangeEvent
from console.formatting import visible
from console.ui.backend import ImageSource
from console.ui.blocking import ask
from console.ui.dialogs import Choice, ChoiceDialog

if TYPE_CHECKING:
    # For its types alone: at run time it would bring PyMongo before the first picture.
    from console.records.images import ImagesOf


class MissingImages:
    """What one screen knows about the images of the namespaces that it has shown."""

    def __init__(
        self, screen: Screen[Any], source: ImageSource | None, now: Callable[[], datetime], changed: Callable[[], None]
    ) -> None:
        self._screen = screen
        self._source = source
        self._now = now
        self._changed = changed
        self._known: dict[str, ImagesOf | None] = {}

    def notes(self, event: ChangeEvent) -> list[str]:
        """Sentences about the documents that did not come with an event; asks the server why, once a namespace."""
        lacking = [word for word, lacks in (("before", event.lacks_before), ("after", event.lacks_after)) if lacks]
        if not lacking:
            return []
        self._ask(event.namespace)
        known = self._known.get(event.namespace)
        why = f" {known.why_missing(event, self._now())}" if known is not None else ""
        noun, verb = ("document", "is") if len(lacking) == 1 else ("documents", "are")
        notes = [f"The {noun} {' and '.join(lacking)} {verb} missing.{why}"]
        if known.can_be_enabled if known is not None else "." in event.namespace:
            key = " (or press e)" if self._source is not None else ""
            notes.append(f"To have it from now on{key}: {_command_text(event.namespace)}")
        return notes

    def _ask(self, namespace: str) -> None:
        if self._source is not None and namespace not in self._known:
            self._known[namespace] = None
            # A server that cannot tell why is no reason for a notice: the event is shown without the reason.
            ask(self._screen.app, partial(self._source.images_of, namespace), self._answered, lambda _: None)

    def _answered(self, images: ImagesOf) -> None:
        self._known[images.namespace] = images
        self._changed()

    def offer(self, namespace: str) -> None:
        """Ask whether images are to be kept from now on, and have them kept."""
        source = self._source
        if source is None or "." not in namespace:
            return

        def answered(sure: bool | None) -> None:
            if sure:
                ask(self._screen.app, partial(source.enable_images, namespace), lambda _: self._enabled(namespace))

        cost = "The server then keeps the documents before and after each change, which takes space."
        text = f"{cost}\n{_command_text(namespace)}"
        choices = (Choice("n", "No", False), Choice("y", "Run this command", True))
        title = f"Keep images of {visible(namespace)}?"
        self._screen.app.push_screen(ChoiceDialog(title, text, choices), answered)

    def _enabled(self, namespace: str) -> None:
        self._known.pop(namespace, None)
        words = f"from now on events of {visible(namespace)} come with their documents"
        self._screen.app.notify(words, title="Images are kept", markup=False)
        self._changed()


def _command_text(namespace: str) -> str:
    from console.records.images import command_text  # with PyMongo, which nobody needs before the first picture

    return command_text(namespace)
