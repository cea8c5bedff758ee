"""Columns fit every width; what matters most goes last."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.ui.events import compare_rows, log_rows
from console.ui.main import file_browser
from console.ui.uploads import upload_cells
from console.ui.widgets.cells import GAP, Column, fit_columns


@st.composite
def columns(draw: st.DrawFn) -> list[Column]:
    number = draw(st.integers(1, 8))
    made = []
    for index in range(number):
        minimum = draw(st.integers(1, 12))
        made.append(
            Column(
                f"c{index}",
                f"C{index}",
                minimum,
                minimum + draw(st.integers(0, 30)),
                rank=0 if index == 0 else draw(st.integers(0, 5)),
                share=draw(st.integers(0, 4)),
                least=draw(st.integers(0, minimum)),
            )
        )
    return made


@given(columns(), st.integers(0, 200))
def test_columns_stay_in_the_width_in_order_and_in_their_bounds(declared: list[Column], width: int) -> None:
    fitted = fit_columns(declared, width)
    order = [declared.index(column) for column, _, _ in fitted]
    assert order == sorted(order)
    end = -GAP
    for column, x, place_width in fitted:
        assert x == end + GAP
        assert 1 <= place_width <= max(column.maximum, column.minimum)
        end = x + place_width
    assert end <= max(0, width)


@given(columns(), st.integers(0, 200))
def test_a_column_goes_only_when_all_of_higher_rank_have_gone(declared: list[Column], width: int) -> None:
    kept = {column.key for column, _, _ in fit_columns(declared, width)}
    essential = sum(column.narrowest for column in declared if column.rank == 0)
    essential += GAP * (sum(column.rank == 0 for column in declared) - 1)
    if essential > width:
        return
    gone = [column.rank for column in declared if column.key not in kept]
    stayed = [column.rank for column in declared if column.key in kept]
    assert not gone or max(stayed) <= min(gone)
    assert all(column.key in kept for column in declared if column.rank == 0)


@given(columns(), st.integers(0, 150))
def test_more_room_never_takes_a_column_away(declared: list[Column], width: int) -> None:
    assert len(fit_columns(declared, width)) <= len(fit_columns(declared, width + 1))


@given(columns(), st.integers(0, 200))
def test_room_is_used_while_a_column_could_grow(declared: list[Column], width: int) -> None:
    fitted = fit_columns(declared, width)
    fits = sum(column.minimum for column, _, _ in fitted) + GAP * (len(fitted) - 1) <= width
    all_there = all(column.rank or column in [shown for shown, _, _ in fitted] for column in declared)
    used = fitted[-1].x + fitted[-1].width if fitted else 0
    can_grow = any(column.share and place_width < column.maximum for column, _, place_width in fitted)
    if can_grow and fits and all_there:
        assert used == width


@pytest.mark.parametrize(
    "declared",
    [
        file_browser.COLUMNS,
        upload_cells.COLUMNS,
        log_rows.ONE_NAMESPACE,
        log_rows.SEVERAL_NAMESPACES,
        compare_rows.SIDE_BY_SIDE,
        compare_rows.ONE_UNDER_THE_OTHER,
    ],
)
def test_every_table_keeps_its_essential_columns_where_a_pane_of_80_columns_is(declared: tuple[Column, ...]) -> None:
    narrowest = {file_browser.COLUMNS: 24, upload_cells.COLUMNS: 44}.get(declared, 74)
    kept = {column.key for column, _, _ in fit_columns(declared, narrowest)}
    assert {column.key for column in declared if column.rank == 0} <= kept


@pytest.mark.parametrize(("width", "kept"), [(15, "sign name percent"), (25, "sign name status percent")])
def test_status_and_percent_come_before_wide_names(width: int, kept: str) -> None:
    fitted = fit_columns(upload_cells.COLUMNS, width)
    assert [column.key for column, _, _ in fitted] == kept.split()
    assert fitted[-1].width == 4
