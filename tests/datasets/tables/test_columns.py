"""Types of the columns of a CSV file."""

from __future__ import annotations

import random
from typing import Any

import pytest
from fuzzing import rounds

from diantu.datasets.tables.columns import typed


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", None, "-20"], [1, None, -20]),
        (["0.5", "12"], [0.5, 12.0]),
        (["1.50", "0.25"], [1.5, 0.25]),
        (["3.2e-05", "0.1", "nan"], [3.2e-05, 0.1, None]),
        (["true", None, "false"], [True, None, False]),
        (["9223372036854775807"], [2**63 - 1]),
    ],
)
def test_numbers_are_numbers(cells: list[str | None], values: list[Any]) -> None:
    found = typed("n", cells)
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


@pytest.mark.parametrize(
    "cells",
    [
        ["000123", "000456"],
        ["12345678901234567890"],
        ["1234567890123456789", "0.5"],  # as floats, two such numbers would be equal
        ["+49", "30"],
        ["1e3", "2e3"],
        ["1.10", "1.9"],  # versions
        ["0.1234567890123456789", "0.1"],
        ["2024-01-05"],
        ["true", "1"],
        ["-0"],
        ["1_000"],
        ["١٢"],  # digits that Python reads
        ["nan", "nan"],
        ["1,5"],
        [" 1"],
    ],
)
def test_what_a_number_would_lose_stays_text(cells: list[str | None]) -> None:
    assert typed("n", cells) == cells


@pytest.mark.parametrize("name", ["caption_zh", "ALT", "text", "File_Name", "id", "photoId", "order_id", "sku", "url"])
def test_captions_names_and_identifiers_are_text(name: str) -> None:
    assert typed(name, ["2023", "1984"]) == ["2023", "1984"]
    assert typed("covid", ["2023"]) == [2023]


@pytest.mark.fuzz
def test_no_two_different_cells_become_equal() -> None:
    rng = random.Random(3)
    for _ in range(rounds(300)):
        length = rng.randint(1, 22)
        cells = ["".join(rng.choices("0123456789.-+e", k=length)) for _ in range(2)]
        cells += ["".join(rng.choices("0123456789", k=rng.randint(1, 20))) for _ in range(rng.randint(0, 2))]
        found = typed("n", cells)
        pairs = {(a, x) for a, x in zip(cells, found, strict=True)}
        assert len({x for _, x in pairs}) == len({a for a, _ in pairs}) or _equal_decimals(cells), cells


def _equal_decimals(cells: list[str]) -> bool:
    """Whether some cells are one number in two writings that have nothing else in common: `5` and `5.0`."""
    return len({float(cell) for cell in cells}) < len(set(cells)) and any("." in cell for cell in cells)
