"""The options of a search are the same in the three places that list them."""

from __future__ import annotations

import dataclasses
import inspect
from typing import get_type_hints

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
