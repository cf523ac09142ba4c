"""The import paths of the first release."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("search", "Gallery"),
        ("search", "Query"),
        ("generation", "generate"),
        ("datasets", "find_shards"),
        ("datasets", "decode"),
        ("indexing.embed", "embed"),
        ("indexing.encoders", "load_encoder"),
        ("indexing.importing", "import_vectors"),
    ],
)
def test_they_stay(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(f"diantu.{module}"), name))
