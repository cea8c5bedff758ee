"""The console on a fake backend, in a headless terminal of a given size, at a fixed time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from console.ui.app import UploadConsole
from console.ui.console_screen import ConsoleScreen

from .fake_backend import HOST, NOW, FakeBackend
from .samples import some_uploads

WAIT_SECONDS = 20.0
SIZES = [(80, 24), (120, 36), (200, 50)]


@dataclass
class Console:
    """A running console."""

    app: UploadConsole
    pilot: Pilot[Any]
    backend: FakeBackend

    @property
    def screen(self) -> ConsoleScreen:
        screen = self.app.screen_stack[0]
        assert isinstance(screen, ConsoleScreen)
        return screen

    async def until(self, condition: Callable[[], object], words: str = "") -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < end, f"waited in vain {words}\n{self.text}"
            await self.pilot.pause()
            await asyncio.sleep(0)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    @property
    def lines(self) -> list[str]:
        """What the terminal shows."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


Opener = Callable[..., AbstractAsyncContextManager[Console]]


@pytest.fixture(autouse=True)
def _fixed_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in (("TZ", "UTC"), ("COLORTERM", "truecolor"), ("TERM", "xterm-256color")):
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
    return directory


@pytest.fixture
def opened(photos: Path) -> Opener:
    """Opens the console: `async with opened(size=(80, 24)) as console`."""

    @asynccontextmanager
    async def open_console(
        *, size: tuple[int, int] = (120, 36), documents: Sequence[dict[str, Any]] | None = None, **arguments: Any
    ) -> AsyncIterator[Console]:
        backend = FakeBackend(some_uploads() if documents is None else documents)
        arguments = {"directory": str(photos), "host": HOST, "now": lambda: NOW} | arguments
        app = UploadConsole(backend, **arguments)
        async with app.run_test(size=size, notifications=True) as pilot:
            console = Console(app, pilot, backend)
            await console.until(lambda: console.screen.table.source.arrived and console.screen.status.counts)
            await console.until(lambda: len(console.screen.files.rows.source) > 0)
            yield console

    return open_console
