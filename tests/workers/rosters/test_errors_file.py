"""No cell of an error file is a formula, and a corrected file contains the text its author wrote."""

import pytest

from workers.rosters.spreadsheet import guarded, unguarded


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "＝", "＋", "－", "＠", "'", "''"])
def test_a_cell_that_begins_like_a_formula_is_marked_and_read_back(start: str) -> None:
    assert guarded(f"{start}1+1") == f"'{start}1+1"
    assert unguarded(guarded(f"{start}1+1")) == f"{start}1+1"


@pytest.mark.parametrize("cell", ["", "Anne", "1+1", "l'été", " =1", "'Null'"])
def test_a_cell_without_a_mark_is_read_as_it_is(cell: str) -> None:
    assert unguarded(cell) == cell
