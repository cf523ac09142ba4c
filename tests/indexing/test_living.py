"""A gallery that lives: rows are added, deleted, folded in and compacted in any order, against a plain dictionary.

`DIANTU_INTERLEAVINGS=1000` runs as many; the suite runs fewer.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from galleries import add_rows, new_gallery
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from diantu.indexing.build import build_index, carry_index
from diantu.indexing.compaction import compact
from diantu.indexing.deletion import delete
from diantu.indexing.index import Breadth, GalleryIndex
from diantu.indexing.manifest import Manifest, read_manifest
from diantu.indexing.request import IndexRequest
from diantu.search.metadata import Metadata

DIM = 8
INTERLEAVINGS = int(os.environ.get("DIANTU_INTERLEAVINGS", "40"))
# Every list and every candidate: what is found depends on bookkeeping alone, not on how good the codes are.
ALL = Breadth(nprobe=4, candidates=10_000)
FEW = Breadth(nprobe=4, candidates=3)


class Living(RuleBasedStateMachine):
    """The model is `rows`: key → vector of every row that is alive."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.root = new_gallery(self.folder / "0", DIM)
        self.rows: dict[str, np.ndarray] = {}
        self.gone: list[np.ndarray] = []
        self.num_parts = 0
        self.num_galleries = 1
        self.rng = np.random.default_rng(0)

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(count=st.integers(0, 40))
    def add(self, count: int) -> None:
        emb_ND = self._vectors(count)
        add_rows(self.root, emb_ND)
        self.rows.update((f"{self.num_parts}-{i}", emb_D) for i, emb_D in enumerate(emb_ND.astype(np.float16)))
        self.num_parts += 1

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        keys = data.draw(st.lists(st.sampled_from(sorted(self.rows)), min_size=1, max_size=15, unique=True))
        delete(self.root, keys=keys)
        for key in keys:
            self.gone.append(self.rows.pop(key))

    @initialize(factory=st.sampled_from(["Flat", "IVF4,SQ8"]))
    def choose(self, factory: str) -> None:
        self.factory = factory
        self.add(20)  # enough for four lists

    @rule()
    def fold(self) -> None:
        build_index(self.root, None, request=IndexRequest(factory=self.factory))

    @rule()
    def compact(self) -> None:
        output = self.folder / str(self.num_galleries)
        compact(self.root, output)
        carry_index(self.root, output)
        self.root, self.num_galleries = output, self.num_galleries + 1

    @rule(k=st.integers(1, 60))
    def search(self, k: int) -> None:
        """Random queries, and those that would bring deleted rows back."""
        queries_QD = np.concatenate([self._vectors(2), *(emb_D[None] for emb_D in self.gone[-3:])]).astype(np.float32)
        manifest, index = self._opened()
        assert index.num_rows == len(self.rows)
        for scores_QK, rows_QK in (index.search(queries_QD, k, effort="exact"), index.search_at(queries_QD, k, ALL)):
            for query_D, scores, rows in zip(queries_QD, scores_QK, rows_QK, strict=True):
                found = [record["key"] for record in Metadata(self.root, manifest).rows(rows)]
                expected = sorted((-float(emb_D.astype(np.float32) @ query_D), key) for key, emb_D in self.rows.items())
                np.testing.assert_allclose(-scores, [score for score, _ in expected[:k]], atol=1e-5)
                assert set(found) == {key for _, key in expected[:k]}

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def find(self, data: st.DataObject) -> None:
        """A row's own vector finds that row among few candidates, so the index holds it under its own number."""
        key = data.draw(st.sampled_from(sorted(self.rows)))
        manifest, index = self._opened()
        _, rows_QK = index.search_at(self.rows[key][None].astype(np.float32), 1, FEW)
        assert [record["key"] for record in Metadata(self.root, manifest).rows(rows_QK[0])] == [key]

    def _opened(self) -> tuple[Manifest, GalleryIndex]:
        manifest = read_manifest(self.root)
        return manifest, GalleryIndex.open(self.root, manifest)

    def _vectors(self, count: int) -> np.ndarray:
        emb_ND = self.rng.standard_normal((count, DIM)).astype(np.float32)
        return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


def test_any_order_of_changes_leaves_what_a_dictionary_would_hold() -> None:
    run_state_machine_as_test(
        Living,
        settings=settings(
            max_examples=INTERLEAVINGS,
            stateful_step_count=12,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
