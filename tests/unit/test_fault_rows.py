"""The tables of faults that a resize meets: what a row leaves half-way, a later one finishes."""

from __future__ import annotations

import pytest

from tests.e2e.faults.resize import BARE, ROWS, Row


@pytest.mark.parametrize("rows", [ROWS, BARE], ids=["with services", "bare"])
@pytest.mark.parametrize("every", [True, False], ids=["all", "not long"])
def test_what_a_row_leaves_half_way_a_later_one_finishes(rows: list[Row], every: bool) -> None:
    halfway = False
    for row in rows:
        if row.long and not every:
            continue
        # A half-way machine accepts only a resize that goes on with it.
        assert row.left or row.code == 0 or not halfway, row.fault
        assert halfway or "--rollback" not in row.words, row.fault
        halfway = row.left
    assert not halfway
