"""Columns of a CSV file, which has only text → numbers, where nothing of the text is lost."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from ..names import NAMES

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)\.([0-9]+)")
_INT64 = range(-(2**63), 2**63)
_EXACT = range(-(2**53), 2**53 + 1)  # integers that a float holds exactly
_MOST_DIGITS = 15  # significant digits that a float always holds
_TRUTHS = ({"true", "false"}, {"True", "False"}, {"TRUE", "FALSE"})
# `id`, `uid`, `order_id`, `photoId`, `product id`
_IDENTIFIER = re.compile(r"(?:^|[\W_])(?:u?u?id|sku|ean|gtin|isbn)$|[a-z]I[dD]$", re.ASCII)
_TEXTUAL = frozenset({*NAMES["file"], *NAMES["caption"], *NAMES["key"], *NAMES["url"]})


def is_textual(name: str) -> bool:
    """Whether a column is text by its name: names of files, captions, addresses, identifiers."""
    lower = name.strip().lower()
    named = lower in _TEXTUAL or "caption" in lower
    return named or bool(_IDENTIFIER.search(lower) or _IDENTIFIER.search(name.strip()))


def typed(name: str, cells: Sequence[str | None]) -> list[Any]:
    """The values of a column. None is an empty cell, and stays one.

    A column of numbers is one whose every cell can be written again from its number: integers of 64 bits without
    leading zeros or `+`; decimals as programs write them, or with equally many digits behind the point, 15 digits at
    most. `nan` among numbers is an empty cell. `true` and `false` alone are truth values. All else is text, such as
    `007`, `1e3`, `1.10` beside `1.9`, dates, and whatever `is_textual` names.
    """
    if is_textual(name):
        return list(cells)
    given = {cell for cell in cells if cell is not None}
    if any(given and given <= truths for truths in _TRUTHS):
        return [None if cell is None else cell.lower() == "true" for cell in cells]
    numbers = {cell for cell in given if cell.lower() != "nan"}
    if numbers and all(_INTEGER.fullmatch(cell) and cell != "-0" for cell in numbers):
        values = {cell: int(cell) for cell in numbers if len(cell) < 25}
        if len(values) == len(numbers) and all(value in _INT64 for value in values.values()):
            return [values.get(cell) if cell is not None else None for cell in cells]
    elif numbers and _are_floats(numbers):
        return [None if cell is None or cell not in numbers else float(cell) for cell in cells]
    return list(cells)


def _are_floats(cells: set[str]) -> bool:
    """Whether each cell is the text of its number, or all have the same number of decimals."""
    matches = {cell: _DECIMAL.fullmatch(cell) for cell in cells}
    decimals = {len(found.group(1)) for found in matches.values() if found}
    if not decimals:
        return False  # nothing but `1e-05`, or nothing that is a number
    return all(_is_exact(cell, is_fixed=len(decimals) == 1 and matches[cell] is not None) for cell in cells)


def _is_exact(cell: str, *, is_fixed: bool) -> bool:
    try:
        number = float(cell)
    except ValueError:
        return False
    if not math.isfinite(number):
        return False
    if repr(number) == cell or (_INTEGER.fullmatch(cell) and cell != "-0" and int(number) in _EXACT):
        return True
    return is_fixed and len(cell.strip("-").replace(".", "").lstrip("0")) <= _MOST_DIGITS
