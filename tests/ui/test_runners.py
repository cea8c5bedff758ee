"""The screen of runners."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from syrupy.assertion import SnapshotAssertion

from console.records.runners import Limits, RunnerState
from console.ui.backend import RunnerView
from console.ui.screens.runners_screen import RunnersScreen, runner_lines
from tests.ui.rest import Typed

from .conftest import SIZES, Opener
from .fake_backend import NOW, RUNNER


def view(name: str, kind: str = "console", *, held: int = 0, is_live: bool = True, is_ours: bool = False) -> RunnerView:
    details = {"user": "op", "pid": 4711, "version": "1.0", "roots": ["/srv/outgoing"], "destinations": ["s3://a/b/"]}
    seen = NOW - timedelta(seconds=1 if is_live else 90)
    limits = Limits(20 * 1024 * 1024 if kind == "watch" else 0, 4, None)
    state = RunnerState(name, name.partition(":")[0], kind, seen, limits, details)
    return RunnerView(name, state, held, held * 1024 * 1024, is_live, is_ours)


VIEWS = [
    view(RUNNER, held=4, is_ours=True),
    view("beta:12:ab12", "watch"),
    view("gamma:99:ffff", held=3, is_live=False),
    RunnerView("delta:1:0000", None, 2, 2048, is_live=False, is_ours=False),
]


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_picture(opened: Opener, size: tuple[int, int], snapshot: SnapshotAssertion) -> None:
    async with opened(size=size) as console:
        console.backend.runner_views = VIEWS
        await console.press("2", "h")
        await console.until(lambda: "4 on 4 hosts · 2 silent" in console.text)
        assert console.text == snapshot


async def test_a_silent_runner_is_taken_over_after_a_question(opened: Opener) -> None:
    async with opened() as console:
        console.backend.runner_views = VIEWS
        await console.press("2", "h")
        assert isinstance(console.app.screen, RunnersScreen)
        await console.until(lambda: "2 silent" in console.text)
        await console.press("j", "t", "y")  # the silent ones come first
        await console.until(lambda: ("take_over", "gamma:99:ffff") in console.backend.asked)
        await console.until(lambda: "may be claimed now" in console.text)
        await console.press("j", "j", "t")
        await console.until(lambda: "it is at work" in console.text)


async def test_limits_of_a_runner_of_another_host(opened: Opener) -> None:
    async with opened() as console:
        console.backend.runner_views = VIEWS
        await console.press("2", "h")
        await console.until(lambda: "2 silent" in console.text)
        await console.press("G", "b", Typed("5 MiB/s"), "enter")
        await console.until(lambda: any(asked[0] == "set_runner_limits" for asked in console.backend.asked))
        assert ("set_runner_limits", "beta:12:ab12", Limits(5 * 1024 * 1024, 4, None)) in console.backend.asked


def test_all_that_is_known_of_a_runner() -> None:
    lines = dict(runner_lines(view("beta:12:ab12", "watch", held=2), NOW))
    assert lines["holds"] == "2 uploads, 2.00 MiB"
    assert (lines["also from"], lines["also to"]) == ("/srv/outgoing", "s3://a/b/")
    assert lines["bandwidth"] == "20.0 MiB/s"


def test_a_runner_tells_why_its_uploads_wait() -> None:
    waiting = view("beta:12:ab12", "watch")
    assert waiting.state is not None
    state = replace(waiting.state, details={**waiting.state.details, "waits": "uploads run between 20:00-06:00"})
    assert ("waits", "uploads run between 20:00-06:00") in list(runner_lines(replace(waiting, state=state), NOW))
    assert "waits" not in dict(runner_lines(waiting, NOW))
