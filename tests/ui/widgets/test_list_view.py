"""The list: the cursor is always on a row in view, whatever is pressed, clicked or taken away."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

import pytest
from textual.app import App, ComposeResult

from console.ui.themes import DARK, THEMES
from console.ui.widgets.cells import Column, Span
from console.ui.widgets.list_view import TONE_CLASSES, Key, RowsView
from tests.ui.rest import Rest, press

COLUMNS = (Column("text", "Text", 4, 40, rank=0, share=1), Column("right", "Right", 5, 5, rank=1, right=True))


class Numbers:
    """Rows that are numbers."""

    columns: Sequence[Column] = COLUMNS

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def key(self, index: int) -> Key:
        return self.numbers[index]

    def index_of(self, key: Key) -> int | None:
        return self.numbers.index(key) if key in self.numbers else None

    def whole(self, index: int) -> Sequence[Span] | None:
        return None

    def may_mark(self, index: int) -> bool:
        return True

    def empty_text(self) -> str:
        return "nothing"

    def cell(self, index: int, column: str, width: int) -> Sequence[Span]:
        return [Span(f"row {self.numbers[index]}")]


class Listing(App[None]):
    """One list."""

    CSS = "RowsView { width: 1fr; height: 1fr; }"
    COMPONENT_CLASSES: ClassVar[set[str]] = set(TONE_CLASSES)

    def __init__(self, numbers: list[int], *, follow: bool = False) -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = DARK
        self.source = Numbers(numbers)
        self.activated: list[Key] = []
        self.rows = RowsView(self.source, follow=follow, activated=self.activated.append)

    def compose(self) -> ComposeResult:
        yield self.rows


def consistent(rows: RowsView) -> None:
    count = len(rows.source)
    assert 0 <= rows.cursor <= max(0, count - 1)
    assert 0 <= rows.top <= max(0, count - rows.page_rows)
    if count:
        assert rows.top <= rows.cursor < rows.top + rows.page_rows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("follow", [False, True])
async def test_the_cursor_is_always_on_a_row_in_view(seed: int, follow: bool) -> None:
    chance = random.Random(seed)
    app = Listing(list(range(40)), follow=follow)
    async with app.run_test(size=(30, 10)):
        app.rows.move_to(0)
        for _ in range(150):
            numbers = app.source.numbers
            match chance.randrange(6):
                case 0:
                    numbers.append(max(numbers, default=0) + 1)
                case 1:
                    del numbers[: chance.randrange(5)]
                case 2:
                    chance.shuffle(numbers)
                case 3:
                    app.rows.move_to(chance.randrange(-5, 60))
                case 4:
                    app.rows.action_page(chance.choice([-1, 1]))
                case 5:
                    app.rows._scroll(chance.choice([-3, 3]))
            key = app.rows.cursor_key
            app.rows.reload()
            consistent(app.rows)
            if key in numbers and not app.rows.following:
                assert app.rows.cursor_key == key


class CountedRows(RowsView):
    """Counts how often it is drawn."""

    drawn = 0

    def redraw(self) -> None:
        self.drawn += 1
        super().redraw()


async def test_another_size_draws_the_list_once() -> None:
    app = Listing(list(range(100)))
    app.rows = rows = CountedRows(app.source)
    rest = Rest()
    async with app.run_test(size=(30, 11), message_hook=rest) as pilot:
        await rest.reached(app)
        rows.drawn = 0
        await pilot.resize_terminal(40, 14)
        await rest.reached(app)
        assert rows.size == (40, 14)
        assert rows.drawn == 1


async def test_the_mouse_chooses_opens_and_scrolls() -> None:
    app = Listing(list(range(100)))
    rest = Rest()
    async with app.run_test(size=(30, 11), message_hook=rest) as pilot:

        async def click(x: int, y: int, times: int = 1) -> None:
            await pilot.click(offset=(x, y), times=times)
            await rest.reached(app)

        await click(5, 4)
        assert app.rows.cursor == 3
        await click(5, 6, times=2)
        assert app.activated == [5]
        app.rows._scroll(3)
        assert (app.rows.top, app.rows.cursor) == (3, 5)
        await click(29, 10)
        assert app.rows.cursor == 99
        await click(29, 0)
        assert app.rows.cursor == 0


async def test_only_lines_that_differ_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Listing(list(range(100)))
    rest = Rest()
    async with app.run_test(size=(30, 11), message_hook=rest):
        await rest.reached(app)
        refreshed: list[int] = []
        monkeypatch.setattr(app.rows, "refresh", lambda *regions, **_: refreshed.extend(r.y for r in regions))
        app.rows.reload()
        assert refreshed == []
        app.rows.action_move(1)
        assert refreshed == [1, 2]


async def test_a_list_that_follows_stops_and_starts_again() -> None:
    app = Listing(list(range(50)), follow=True)
    async with app.run_test(size=(30, 11)):
        app.rows.reload()
        assert app.rows.cursor == 49
        app.rows.action_move(-1)
        app.source.numbers.append(50)
        app.rows.reload()
        assert (app.rows.following, app.rows.cursor_key) == (False, 48)
        app.rows.action_last()
        app.source.numbers.append(51)
        app.rows.reload()
        assert (app.rows.following, app.rows.cursor_key) == (True, 51)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 2), (12, 4)])
async def test_the_smallest_terminals_do_no_harm(size: tuple[int, int]) -> None:
    app = Listing(list(range(9)))
    rest = Rest()
    async with app.run_test(size=size, message_hook=rest):
        await press(app, rest, "end", "pageup", "space")
        consistent(app.rows)


async def test_a_list_stays_at_its_top_until_somebody_moves_its_cursor() -> None:
    app = Listing(list(range(100, 150)))
    async with app.run_test(size=(30, 11)):
        app.source.numbers[:0] = range(20, 40)
        app.rows.reload()
        assert (app.rows.top, app.rows.cursor_key) == (0, 20)
        app.rows.action_move(1)
        app.source.numbers[:0] = range(20)
        app.rows.reload()
        assert app.rows.cursor_key == 21
        consistent(app.rows)
