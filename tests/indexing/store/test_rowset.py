"""Row sets against numpy's masks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from diantu.indexing.store.rowset import RowSet


@given(st.lists(st.booleans(), max_size=40), st.integers(0, 45), st.integers(0, 45))
def test_rows_between_two_rows(mask: list[bool], start: int, end: int) -> None:
    mask_N = np.array(mask, bool)
    found = RowSet.of_mask(mask_N)
    assert found.count == mask_N.sum()
    np.testing.assert_array_equal(found.rows(), np.flatnonzero(mask_N))
    expected = [row for row in range(start, min(end, len(mask))) if mask[row]]
    assert found.rows(start, end).tolist() == expected


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=40))
def test_rows_of_both(masks: list[tuple[bool, bool]]) -> None:
    one, other = (np.array(mask, bool) for mask in zip(*masks, strict=True)) if masks else (np.zeros(0, bool),) * 2
    both = RowSet.of_mask(one) & RowSet.without(np.flatnonzero(~other), len(other))
    np.testing.assert_array_equal(both.rows(), np.flatnonzero(one & other))
