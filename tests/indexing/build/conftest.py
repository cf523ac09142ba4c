from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6000 rows in three parts, indexed by lists and codes; a test that changes something takes `gallery`."""
    from galleries import add_rows, new_gallery
    from indexes import DIM, FACTORY, clustered

    from diantu.indexing.build.job import build_index
    from diantu.indexing.build.request import IndexRequest

    root = new_gallery(tmp_path_factory.mktemp("built") / "g", DIM)
    for part in range(3):
        add_rows(root, clustered(part, 2000))
    build_index(root, None, request=IndexRequest(factory=FACTORY))
    return root


@pytest.fixture
def few_queries() -> Iterator[None]:
    from galleries import few_queries

    with few_queries():
        yield


@pytest.fixture
def gallery(built: Path, tmp_path: Path) -> Path:
    """A copy of `built`."""
    return shutil.copytree(built, tmp_path / "g")
