"""The console on a fake backend, in a headless terminal of a given size, at a fixed time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.events.feed_items import FeedItem, FeedState
from console.stream.server import Images, ImagesOf
from console.ui.app import UploadConsole
from console.ui.backend import UploadChoices
from console.ui.events.event_log import EventLog
from console.ui.inspector import Inspector, InspectorScreen
from console.ui.main.console_screen import ConsoleScreen

from .fake_backend import HOST, NOW, FakeBackend
from .rest import Rest, press
from .samples import some_uploads

WAIT_SECONDS = float(os.environ.get("TEST_PATIENCE", "60"))
SIZES = [(80, 24), (120, 36), (200, 50)]


@dataclass
class Console:
    """A running console."""

    app: UploadConsole
    pilot: Pilot[Any]
    rest: Rest
    backend: FakeBackend

    @property
    def screen(self) -> ConsoleScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ConsoleScreen)
        return screen

    async def until(self, condition: Callable[[], object], words: str = "") -> None:
        """Wait until a condition holds when the application is at rest."""
        end = time.monotonic() + WAIT_SECONDS
        while True:
            if condition():
                await self.rest.reached(self.app)
                if condition():
                    return
            assert time.monotonic() < end, f"waited in vain {words}\n{self.text}"
            await asyncio.sleep(0.01)

    async def press(self, *keys: str) -> None:
        await press(self.app, self.rest, *keys)

    @property
    def lines(self) -> list[str]:
        """What the terminal shows."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


Opener = Callable[..., AbstractAsyncContextManager[Console]]


@pytest.fixture(autouse=True)
def _fixed_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    surroundings = {"TZ": "UTC", "COLORTERM": "truecolor", "TERM": "xterm-256color", "HOME": str(tmp_path)}
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A directory with a few files, all changed at one time."""
    directory = tmp_path / "photos"
    (directory / "2026").mkdir(parents=True)
    for name, size in (("a.jpg", 10), ("b.jpg", 2_000), ("part-9.bin", 5), ("part-10.bin", 0), (".hidden", 1)):
        (directory / name).write_bytes(b"x" * size)
    (directory / "2026" / "inner.txt").write_text("inner")
    for path in (directory, *directory.rglob("*")):
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return directory


@pytest.fixture
def opened(photos: Path) -> Opener:
    """Opens the console: `async with opened(size=(80, 24)) as console`."""

    @asynccontextmanager
    async def open_console(
        *, size: tuple[int, int] = (120, 36), documents: Sequence[dict[str, Any]] | None = None, **arguments: Any
    ) -> AsyncIterator[Console]:
        backend = FakeBackend(some_uploads() if documents is None else documents)
        usual = UploadChoices("archive", "photos")
        arguments = {"directory": str(photos), "host": HOST, "now": lambda: NOW, "usual": usual} | arguments
        app = UploadConsole(backend, **arguments)
        rest = Rest()
        async with app.run_test(size=size, notifications=True, message_hook=rest) as pilot:
            console = Console(app, pilot, rest, backend)
            await console.until(lambda: console.screen.table.source.arrived and console.screen.status.counts)
            await console.until(lambda: len(console.screen.files.rows.source) > 0)
            yield console

    return open_console


class Events:
    """A source of events for the inspector."""

    title = "shop on db.example.com"

    def __init__(self) -> None:
        self.backend = FakeBackend()
        self.backend.feed_take(0)
        self.feed_take = self.backend.feed_take
        self.images = Images.OFF
        self.enabled: list[str] = []

    def images_of(self, namespace: str) -> ImagesOf:
        return ImagesOf(namespace, self.images)

    def enable_images(self, namespace: str) -> None:
        self.enabled.append(namespace)
        self.images = Images.ON


@dataclass
class Inspecting:
    """A running inspector."""

    app: Inspector
    pilot: Pilot[Any]
    rest: Rest
    source: Events
    until = Console.until
    press = Console.press
    lines = Console.lines
    text = Console.text

    @property
    def log_pane(self) -> EventLog:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, InspectorScreen)
        return screen.log_pane


@pytest.fixture
def inspected() -> Callable[..., AbstractAsyncContextManager[Inspecting]]:
    """Opens the inspector: `async with inspected(size=(80, 24)) as inspecting`."""

    @asynccontextmanager
    async def open_inspector(
        *items: FeedItem, size: tuple[int, int] = (120, 36), capacity: int = 1_000
    ) -> AsyncIterator[Inspecting]:
        source = Events()
        source.backend.bring(FeedState(True), *items)
        app = Inspector(source, source, event_capacity=capacity, now=lambda: NOW)
        rest = Rest()
        async with app.run_test(size=size, notifications=True, message_hook=rest) as pilot:
            inspecting = Inspecting(app, pilot, rest, source)
            await inspecting.until(lambda: inspecting.log_pane.log_rows.buffer.total == len(items) + 1)
            await inspecting.until(lambda: "connected" in inspecting.text)
            yield inspecting

    return open_inspector
