"""A gallery does not remember where it was embedded."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from pictures import same_tree

from diantu.datasets import find_shards
from diantu.indexing.embed import embed_with

sys.path.insert(0, str(Path(__file__).parent))

from contract import EXECUTORS


def test_a_gallery_can_change_its_executor(
    request: pytest.FixtureRequest, source: Path, whole: Path, tmp_path: Path
) -> None:
    """Each run is given three further shards and another executor."""
    for number, name in enumerate([*EXECUTORS, "in_process"]):
        with EXECUTORS[name](request) as (executor, _):
            embed_with(executor, find_shards(str(source))[: 3 * (number + 1)], tmp_path / "g")
    assert same_tree(tmp_path / "g", whole)
