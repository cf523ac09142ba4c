"""Rows of vectors, wherever they are: on the disk or in memory, in small parts or large ones."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from galleries import add_rows, new_gallery

from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.store.vectors import Vectors

DIM = 32
# The first and the third part are smaller than 64 kB, so they are read as a whole.
SIZES = (10, 3000, 500, 2000)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    root = new_gallery(tmp_path / "g", DIM)
    for seed, size in enumerate(SIZES):
        add_rows(root, _unit(seed, size))
    return root


def _unit(seed: int, count: int) -> np.ndarray:
    emb_ND = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


def _drop_from_memory(root: Path) -> None:
    for path in (root / "img_emb").iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.mark.parametrize("rows", [[10], [9, 10, 3009, 3010, 3509, 3510, 5509], [5509, 20, 20, 0], range(5510)])
def test_rows_that_are_not_in_memory_are_read_from_the_disk(gallery: Path, rows: list[int]) -> None:
    expected_ND = np.concatenate([_unit(seed, size) for seed, size in enumerate(SIZES)]).astype(np.float16)
    vectors = Vectors(Snapshot.read(gallery))
    for _ in range(2):  # in files that are opened now, and in open ones
        _drop_from_memory(gallery)
        np.testing.assert_array_equal(vectors.rows(np.array(rows)), expected_ND[rows])
    np.testing.assert_array_equal(vectors.rows(np.array(rows)), expected_ND[rows])
