"""The options of a search are the same in the three places that list them."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, get_type_hints

import numpy as np
import pytest

from diantu.datasets import InputError
from diantu.search import Gallery, SearchOptions
from diantu.search.options import Options


def test_the_three_lists_agree() -> None:
    fields = {field.name: field.default for field in dataclasses.fields(Options)}
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(Gallery.search).parameters.items()
        if name not in ("self", "query", "image", "vector")
    }
    assert given == fields
    assert get_type_hints(SearchOptions) == get_type_hints(Options)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        *((name, value, "give a whole number") for name in ("k", "offset", "window")
          for value in (3.5, "5", True, [3])),
        *((name, value, "give a number") for name in ("diversity", "aesthetic", "min_score", "min_zscore")
          for value in ("0.5", True, float("nan"), 1j)),
        *((name, value, "give a text") for name in ("where", "space", "rerank", "sort_by", "missing")
          for value in (5, b"x", ["x"])),
        ("where_timeout", "5", "give seconds, more than 0"),
        ("where_timeout", -1, "give seconds, more than 0"),
        ("columns", "key", "columns takes a list"),
        ("columns", [5], "one of columns is 5; give a text"),
        ("k", None, "k is None; give a whole number"),
    ],
)  # fmt: skip
def test_an_option_of_another_type_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Options(**{name: value})


def test_numbers_of_numpy_are_numbers() -> None:
    options = Options(k=np.int32(3), window=np.uint8(200), diversity=np.float32(0.5))  # type: ignore[arg-type]
    assert (options.k, options.depth) == (3, 200)
