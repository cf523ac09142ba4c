"""Rows are added, deleted, folded into the index and compacted in any order; the result is compared with a dictionary.

`DIANTU_INTERLEAVINGS=1000` tries 1000 orders; by default 20 are tried.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from galleries import add_rows, new_gallery
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diantu.datasets.errors import InputError
from diantu.indexing.build.job import build_index, carry_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.index.opened import Breadth, GalleryIndex
from diantu.indexing.store.metadata import Metadata
from diantu.indexing.store.snapshot import Snapshot
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.deletion import delete

DIM = 8
INTERLEAVINGS = int(os.environ.get("DIANTU_INTERLEAVINGS", "20"))
# Every list and every candidate are searched, so that results depend on bookkeeping only, not on the codes.
ALL = Breadth(nprobe=4, candidates=10_000)
FEW = Breadth(nprobe=4, candidates=3)


class Living:
    """A gallery and what it must hold: `rows` maps keys to the vectors of present rows, `gone` are deleted vectors."""

    def __init__(self, folder: Path, factory: str) -> None:
        self.folder, self.factory = folder, factory
        self.root = new_gallery(folder / "0", DIM)
        self.rows: dict[str, np.ndarray] = {}
        self.gone: list[np.ndarray] = []
        self.num_parts = 0
        self.num_galleries = 1
        self.rng = np.random.default_rng(0)
        self.add(20)  # enough for four lists

    def add(self, number: int) -> None:
        emb_ND = self._vectors(number % 12)  # few, so that they do not count as drift
        add_rows(self.root, emb_ND)
        self.rows.update((f"{self.num_parts}-{i}", emb_D) for i, emb_D in enumerate(emb_ND.astype(np.float16)))
        self.num_parts += 1

    def delete(self, number: int) -> None:
        keys = [key for key in sorted(self.rows) if self.rng.integers(1 + number % 10) == 0]
        delete(self.root, keys=keys)
        self.gone += [self.rows.pop(key) for key in keys]

    def fold(self, number: int) -> None:
        del number
        request = IndexRequest(factory=self.factory)
        if self.factory != "Flat" and 0 < len(self.rows) < 4:
            # The factory wants more lists than rows are left. The index from before may still be used.
            with contextlib.suppress(InputError):
                build_index(self.root, None, request=request)
        else:
            build_index(self.root, None, request=request)

    def compact(self, number: int) -> None:
        del number
        output = self.folder / str(self.num_galleries)
        compact(self.root, output)
        carry_index(self.root, output)
        self.root, self.num_galleries = output, self.num_galleries + 1

    def search(self, number: int) -> None:
        self.compare(self._vectors(2), 1 + number)

    def check(self) -> None:
        """Deleted rows do not come back, and the index holds every row under its own number."""
        if self.gone:
            self.compare(np.stack(self.gone[-2:]).astype(np.float32), 3)
        keys = sorted(self.rows)[:: max(1, len(self.rows) // 5)]
        if keys:
            _, rows_QK = self._opened().search_at(np.stack([self.rows[key] for key in keys]), 1, FEW)
            assert self._keys(rows_QK[:, 0]) == keys

    def compare(self, queries_QD: np.ndarray, k: int) -> None:
        index = self._opened()
        assert index.num_rows == len(self.rows)
        for scores_QK, rows_QK in (index.search(queries_QD, k, effort="exact"), index.search_at(queries_QD, k, ALL)):
            for query_D, scores, rows in zip(queries_QD, scores_QK, rows_QK, strict=True):
                expected = sorted((-float(emb_D.astype(np.float32) @ query_D), key) for key, emb_D in self.rows.items())
                np.testing.assert_allclose(-scores, [score for score, _ in expected[:k]], atol=1e-5)
                assert set(self._keys(rows)) == {key for _, key in expected[:k]}

    def _opened(self) -> GalleryIndex:
        return GalleryIndex.open(Snapshot.read(self.root))

    def _keys(self, rows: np.ndarray) -> list[str]:
        return [record["key"] for record in Metadata(Snapshot.read(self.root)).rows(rows)]

    def _vectors(self, count: int) -> np.ndarray:
        emb_ND = self.rng.standard_normal((count, DIM)).astype(np.float32)
        return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


CHANGES = st.tuples(st.sampled_from(["add", "delete", "fold", "compact", "search"]), st.integers(0, 60))


@pytest.mark.timeout(300 + INTERLEAVINGS)
@settings(max_examples=INTERLEAVINGS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["Flat", "IVF4,SQ8"]), st.lists(CHANGES, min_size=6, max_size=12))
def test_after_any_order_of_changes_the_gallery_equals_a_dictionary(
    factory: str, changes: list[tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        living = Living(Path(folder), factory)
        for name, number in changes:
            getattr(living, name)(number)
            living.check()
