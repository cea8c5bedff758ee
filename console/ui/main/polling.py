"""What the main screen asks by itself: how the servers are, how many uploads there are, which rows the table lacks.

No question is asked twice at once. One that fails is asked again later and makes no notice: the header says how the
servers are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from textual.screen import Screen

from console.events.event import ChangeEvent
from console.events.feed_items import FeedItem, FeedState
from console.models import UploadStatus
from console.ui.backend import Backend, Document, Link, PageQuery, ServerHealth
from console.ui.background import run_in_background
from console.ui.feed_pump import Throttle
from console.ui.main.status_bar import StatusBar
from console.ui.uploads.uploads_window import UploadRows

if TYPE_CHECKING:
    # For its types alone: at run time it would bring PyMongo before the first picture.
    from console.records.runners import Limits

PING_SECONDS: Final = 2.0
HEALTH_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 3.0  # without an answer
COUNT_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0


class _Server:
    """One server: what it answered last, and for how long it has not answered."""

    def __init__(
        self, screen: Screen[Any], question: Callable[[], ServerHealth], pause: float, told: Callable[[], None]
    ) -> None:
        self.health = ServerHealth(Link.CONNECTING, "")
        self._screen = screen
        self._question = question
        self._pause = pause
        self._told = told
        self._asked_at: float | None = None

    def ask(self) -> None:
        """Ask, and again after the answer, however late it comes."""
        self._asked_at = monotonic()
        run_in_background(self._screen.app, self._question, self._answered, lambda _: self._again())

    def _answered(self, health: ServerHealth) -> None:
        self.health = health
        self._again()
        self._told()

    def _again(self) -> None:
        self._asked_at = None
        self._screen.set_timer(self._pause, self.ask)

    def silent(self, health: ServerHealth) -> ServerHealth:
        """The health, but where the server is silent."""
        seconds = monotonic() - self._asked_at if self._asked_at is not None else 0.0
        if seconds < SILENT_SECONDS:
            return health
        return ServerHealth(Link.SILENT, health.address, f"for {seconds:.0f} s")


class Polling:
    """Questions on behalf of one screen; `changed` is called when the table has other rows."""

    def __init__(
        self, screen: Screen[Any], backend: Backend, status: StatusBar, uploads: UploadRows, changed: Callable[[], None]
    ) -> None:
        self._screen = screen
        self._backend = backend
        self._status = status
        self._uploads = uploads
        self._changed = changed
        self._feed = FeedState(connected=False)
        self._mongodb = _Server(screen, backend.mongodb_health, PING_SECONDS, self._show_link)
        self._s3 = _Server(screen, backend.s3_health, HEALTH_SECONDS, self._show_link)
        self._counts = Throttle(screen, self._ask_counts, COUNT_SECONDS)
        self._counting = self._again = self._paging = False

    # ---- servers and limits

    def ask_health(self) -> None:
        """Ask each server how it is, and again some seconds after its answer."""
        self._mongodb.ask()
        self._s3.ask()
        self._ask_limits()

    def _ask_limits(self) -> None:
        run_in_background(self._screen.app, self._limits_now, self._limits_known, lambda _: None)

    def _limits_now(self) -> tuple[Limits, str]:
        return self._backend.limits(), self._backend.waits_until()

    def _limits_known(self, known: tuple[Limits, str]) -> None:
        self._screen.set_timer(HEALTH_SECONDS, self._ask_limits)
        if known != (self._status.limits, self._status.waits_until):
            self._status.limits, self._status.waits_until = known
            self._status.redraw()

    def feed_changed(self, state: FeedState) -> None:
        """The feed was connected or lost: it knows sooner than the next answer, and what it missed may have counted."""
        self._feed = state
        if state.connected:
            self.count_soon()
        self._show_link()

    def see_link(self) -> None:
        """Where a server vanishes the driver knows at once, and the feed when it has found no other; one that was
        stopped is known by its silence alone."""
        self._show_link()

    def _show_link(self) -> None:
        mongodb = self._mongodb_as_known()
        shown = self._mongodb.silent(mongodb), self._s3.silent(self._s3.health)
        if shown != (self._status.mongodb, self._status.s3):
            self._status.mongodb, self._status.s3 = shown
            self._status.redraw()

    def _mongodb_as_known(self) -> ServerHealth:
        """What the feed knows, sooner than the next answer."""
        health = self._mongodb.health
        if self._feed.connected:
            link = Link.CONNECTED if self._backend.is_connected else Link.RECONNECTING
            return ServerHealth(link, health.address)
        if self._feed.ended:
            return ServerHealth(Link.LOST, health.address, self._feed.message)
        if health.link is Link.CONNECTED:
            return ServerHealth(Link.RECONNECTING, health.address, self._feed.message)
        return health

    # ---- how many there are

    def count_soon(self) -> None:
        """An upload came, went or changed its status."""
        self._counts.mark()

    def _ask_counts(self) -> None:
        if self._counting:
            self._again = True
            return
        self._counting = True
        run_in_background(self._screen.app, self._backend.counts, self._counts_known, self._counts_unknown)

    def _counts_known(self, counts: Mapping[UploadStatus, int]) -> None:
        self._counting = False
        if self._again:
            self._again = False
            self._counts.mark()
        self._status.counts = counts
        self._status.redraw()

    def _counts_unknown(self, error: Exception) -> None:
        self._counting = self._again = False
        self._screen.set_timer(RETRY_SECONDS, self.count_soon)

    # ---- what the table lacks

    def ask_page(self, cursor: int) -> None:
        """Ask for what follows the rows held, where the cursor comes near their end, and for what a filter may find."""
        if self._paging:
            return
        query = self._uploads.wanted_page(cursor)
        if query is not None:
            self._paging = True
            run_in_background(
                self._screen.app,
                partial(self._backend.page, query),
                partial(self._page_known, query),
                self._page_unknown,
            )

    def _page_known(self, query: PageQuery, documents: list[Document]) -> None:
        self._paging = False
        self._uploads.extend(query, documents)
        self._changed()

    def _page_unknown(self, error: Exception) -> None:
        self._screen.set_timer(RETRY_SECONDS, self._page_again)

    def _page_again(self) -> None:
        self._paging = False
        self._changed()

    def ask_matches(self) -> None:
        """The filter is another one: ask for rows that match it and are not held, at once."""
        self.ask_page(0)


def changes_status(item: FeedItem) -> bool:
    """Whether an event moves an upload from one total to another."""
    if not isinstance(item, ChangeEvent):
        return False
    before = item.before.get("status") if item.before is not None else None
    after = item.after.get("status") if item.after is not None else None
    return before != after or before is None
