"""The other screens: the command palette, faults of our own, themes."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from textual.color import Color
from textual.command import CommandPalette
from textual.strip import Strip

from console.errors import ConfigurationError
from console.models import UploadStatus
from console.ui import themes
from console.ui.app import UploadConsole
from console.ui.backend import Leave
from console.ui.background import run_in_background
from console.ui.main.console_screen import ConsoleScreen
from console.ui.uploads.upload_screen import UploadScreen
from console.ui.widgets.text_screen import copy
from tests.ui.rest import Typed

from .conftest import Console, Opener
from .fake_backend import HOST, FakeBackend, document

Cause = Callable[[Console, pytest.MonkeyPatch], Awaitable[None]]


async def test_every_action_can_be_found_by_name(opened: Opener) -> None:
    async with opened() as console:
        await console.press("ctrl+p")
        assert isinstance(console.app.screen, CommandPalette)
        await console.press(Typed("verify"))
        await console.until(lambda: "Uploads: Verify" in console.text)
        await console.press("down", "enter")
        await console.until(lambda: any(call[0] == "verify" for call in console.backend.asked))


def fail(*_: object) -> None:
    1 // 0  # noqa: B018 - that is all it does


async def by_key(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.screen, "action_zoom", fail)
    await console.press("z")


async def by_message(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    console.screen.table.call_later(fail)


async def by_feed(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console.screen.uploads, "apply_all", fail)
    console.backend.insert(document(500))
    await console.until(lambda: console.app.faults.known)
    monkeypatch.undo()


async def by_timer(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    console.screen.files.set_timer(0.001, fail)


async def by_answer(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    run_in_background(console.app, lambda: 1, fail)


async def by_compose(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UploadScreen, "compose", fail)
    await console.press("2", "enter")
    await console.until(lambda: len(console.app.screen_stack) == 1)


async def by_drawing(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(console.screen.table.rows, "make_line", fail)
        console.screen.table.rows.refresh()
        await console.until(lambda: console.app.faults.known)


@pytest.mark.parametrize("cause", [by_key, by_message, by_feed, by_timer, by_answer, by_compose, by_drawing])
async def test_a_fault_of_our_own_is_told_and_ends_nothing(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: Cause
) -> None:
    with monkeypatch.context() as surroundings:
        surroundings.setenv("XDG_STATE_HOME", str(tmp_path))
        async with opened(documents=[document(1, status="uploading")]) as console:
            await cause(console, monkeypatch)
            await console.until(lambda: console.app.faults.known and "Internal error" in console.text)
            assert "ZeroDivisionError" in console.text
            (report,) = tmp_path.glob("upload-console/fault-*.txt")
            assert "Traceback" in report.read_text()
            # All goes on: keys, the feed, what is drawn.
            console.backend.insert(document(501, filename="after.txt"))
            await console.until(lambda: "after.txt" in console.text)
            await console.press("2", "p")
            await console.until(lambda: console.backend.asked)


async def test_a_fault_that_happens_again_and_again_is_told_once(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with opened() as console:
        failed: list[str] = []

        def fail_again() -> None:
            failed.append("")
            fail()

        console.screen.set_interval(0.001, fail_again)
        await console.until(lambda: len(failed) > 3)
        assert len(list(tmp_path.glob("upload-console/fault-*.txt"))) == 1


async def test_without_a_picture_a_fault_ends_with_a_sentence_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(ConsoleScreen, "compose", fail)
    app = UploadConsole(FakeBackend(), directory=str(tmp_path), host=HOST)
    shown: list[str] = []
    monkeypatch.setattr(app, "panic", lambda text: shown.append(text.plain))

    async def run() -> None:
        async with app.run_test():
            pass

    # Textual's test harness raises again what the application met.
    with pytest.raises(ZeroDivisionError):
        await run()
    assert "ZeroDivisionError" in shown[0]
    assert "Traceback" not in shown[0]
    assert any(str(report) in shown[0] for report in tmp_path.glob("upload-console/fault-*.txt"))


async def test_leaving_waits_for_no_server_that_hangs(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs, called, answered = threading.Event(), threading.Event(), threading.Event()

    def hang() -> Mapping[UploadStatus, int]:
        called.set()
        hangs.wait(100)
        answered.set()
        return {}

    try:
        async with opened(documents=[]) as console:
            monkeypatch.setattr(console.backend, "counts", hang)
            console.backend.insert(document(500))
            await console.until(called.is_set)
            await console.press("ctrl+c")
        assert not answered.is_set()
        assert console.app.return_value is Leave.NOW
    finally:
        hangs.set()


@pytest.mark.parametrize(("size", "title"), [(10, "Copied"), (80_000, "Sent to"), (2_000_000, "Not copied")])
async def test_copying_says_what_a_terminal_may_not_take(opened: Opener, size: int, title: str) -> None:
    async with opened() as console:
        copy(console.app, "ü" * (size // 2), "the text")
        await console.until(lambda: title in console.text)
        assert (console.app.clipboard == "") == (title == "Not copied")


@pytest.mark.parametrize(
    ("theme", "environment", "colours", "expected"),
    [
        (themes.DARK, {}, None, themes.DARK),
        (themes.DARK, {}, 16, themes.TERMINAL_DARK),
        (themes.LIGHT, {}, 16, themes.TERMINAL_LIGHT),
        (themes.LIGHT, {"NO_COLOR": "1"}, None, themes.TERMINAL_LIGHT),
        (themes.DARK, {"NO_COLOR": ""}, None, themes.DARK),
        (themes.TERMINAL_LIGHT, {"NO_COLOR": "1"}, 16, themes.TERMINAL_LIGHT),
        ("nord", {}, 256, "nord"),
        ("nord", {}, 16, themes.TERMINAL_DARK),
        ("textual-light", {}, 16, themes.TERMINAL_LIGHT),
        ("ansi-dark", {}, 16, "ansi-dark"),
    ],
)
def test_few_colours_mean_the_terminals_own(
    theme: str, environment: dict[str, str], colours: int | None, expected: str
) -> None:
    assert themes.suitable(theme, environment, colours) == expected


async def test_a_notice_is_seen_once_also_where_a_question_comes_before_it(opened: Opener) -> None:
    async with opened(documents=[document(1, status="completed")]) as console:

        def is_seen_once() -> bool:
            return bool(console.app.screen.query("Toast")) and console.text.count("the only one") == 1

        console.app.notify("the only one", timeout=600)
        await console.until(is_seen_once)
        for question in ("d", "b", "enter"):
            await console.press("2", question)
            await console.until(lambda: console.app.screen is not console.screen)
            await console.until(is_seen_once)
            # What is below is not always painted again.
            assert not any(holder.display for holder in console.screen.query("ToastHolder"))
            await console.press("escape")
            await console.until(lambda: console.app.screen is console.screen)
        await console.until(is_seen_once)


@pytest.mark.parametrize("colours", [None, 16])
def test_a_theme_that_does_not_exist_is_a_wrong_setting_that_names_those_that_do(colours: int | None) -> None:
    with pytest.raises(ConfigurationError, match=r"^ui\.theme: .*'console-ansi'") as raised:
        themes.suitable("console-ansi", {}, colours)
    assert {theme.name for theme in themes.THEMES} | {"dracula", "ansi-dark"} <= set(
        raised.value.advice.removeprefix("Known themes: ").removesuffix(".").split(", ")
    )


async def test_without_colours_nothing_has_one_and_the_cursor_is_still_seen(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(size=(80, 24)) as console:
        await console.press("2")
        strips = [
            strip.apply_filter(line_filter, Color.parse("black"))
            for strip in console.app.screen._compositor.render_strips()
            for line_filter in console.app._filters
            if line_filter.enabled
        ]
        styles = [style for strip in strips for _, style, _ in strip if style is not None]
        assert all(style.color is None or style.color.is_default for style in styles)
        assert all(style.bgcolor is None or style.bgcolor.is_default for style in styles)
        assert any(style.reverse for style in styles)


@pytest.mark.parametrize("theme", [theme.name for theme in themes.THEMES])
async def test_every_theme_shows_cursor_marks_and_tones(opened: Opener, theme: str) -> None:
    async with opened(size=(80, 24), theme=theme) as console:
        await console.press("2", "space")
        rows = console.screen.table.rows
        plain, cursor = rows.look("lines--plain"), rows.look("lines--plain", "rows--cursor")
        assert (plain.bgcolor, plain.reverse) != (cursor.bgcolor, cursor.reverse)
        assert console.app.theme == theme
        assert "●" in console.text


def painted(console: Console) -> list[Strip]:
    return console.app.screen._compositor.render_strips()


def drawn(console: Console) -> bool:
    return "21.6 MiB/s" in console.lines[1] and " 41 ─╮" in console.text and "41 documents" in console.text


async def test_every_theme_can_be_chosen_while_the_console_runs(opened: Opener) -> None:
    async with opened(size=(80, 24)) as console:
        await console.press("2")
        rows = console.screen.table.rows
        for theme in console.app.available_themes.values():
            console.app.theme = theme.name
            await console.until(lambda: console.screen._css_update_count == console.app._css_update_count)
            cursor = rows.render_line(1 + rows.cursor - rows.top)._segments[0].style
            assert cursor is not None
            assert cursor.bgcolor is not None
            if theme.ansi:
                assert cursor.reverse
            else:
                wanted = Color.parse(console.app.theme_variables["cursor"])
                assert Color.from_rich_color(cursor.bgcolor) == wanted, theme.name
                assert wanted != Color.from_rich_color(rows.look("lines--plain").bgcolor), theme.name


@pytest.mark.parametrize("theme", ["dracula", "ansi-light"])
async def test_a_theme_chosen_by_name_looks_as_if_the_console_had_begun_with_it(opened: Opener, theme: str) -> None:
    async with opened(theme=theme) as console:
        await console.until(lambda: drawn(console))
        begun = painted(console)
    async with opened() as console:
        await console.until(lambda: drawn(console))
        before = painted(console)
        await console.press("ctrl+p", *theme)
        await console.until(lambda: f"Theme: {theme}" in console.text)
        await console.press("enter")
        await console.until(lambda: console.app.theme == theme and console.app.screen is console.screen)
        assert painted(console) == begun != before
