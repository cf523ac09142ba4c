"""Searches that fold near-duplicates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import at_angles, plant, stored, unit

from diantu.datasets import InputError
from diantu.indexing.store.duplicates import read_duplicates
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.search import Gallery


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    """300 rows: one motif 200 times, a few others several times, the rest once."""
    rng = np.random.default_rng(0)
    motifs = unit(rng.standard_normal((61, 16)))
    counts = [200, *range(1, 10), *([1] * 55)][:61]
    emb_ND = unit(np.repeat(motifs, counts, axis=0) + 0.01 * rng.standard_normal((sum(counts), 16)))
    emb_ND = emb_ND[rng.permutation(len(emb_ND))]
    root = plant(tmp_path_factory.mktemp("crowded"), emb_ND, num_parts=3)
    find_duplicates(root, threshold=0.98)
    return root, emb_ND


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 80), near=st.booleans())
def test_each_group_answers_once_by_its_best_row(
    crowded: tuple[Path, np.ndarray], seed: int, k: int, near: bool
) -> None:
    """Against all rows sorted by score, the first of each group kept; near the large group or anywhere."""
    root, emb_ND = crowded
    rng = np.random.default_rng(seed)
    query_D = unit(rng.standard_normal(16) + (10 * emb_ND[rng.integers(0, len(emb_ND))] if near else 0))
    found = read_duplicates(root)
    assert found is not None
    group = found.representatives(np.arange(len(emb_ND)))
    expected: dict[int, int] = {}
    for row in np.argsort(-(stored(emb_ND) @ query_D), kind="stable").tolist():
        expected.setdefault(int(group[row]), row)
    hits = Gallery.open(root).search(vector=query_D, k=k, fold_duplicates=True)
    assert len(hits) == min(k, len(expected))
    assert [hit.row for hit in hits] == list(expected.values())[:k]
    assert [hit.rank for hit in hits] == list(range(1, len(hits) + 1))
    assert [hit.folded for hit in hits] == [int((group == group[hit.row]).sum()) - 1 for hit in hits]


def test_a_plain_search_gives_all_and_names_the_representative(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 1, 50))
    query = at_angles(0)[0]
    before = Gallery.open(tmp_path).search(vector=query, k=3)
    assert all("duplicate_of" not in hit.metadata for hit in before)
    find_duplicates(tmp_path)
    hits = Gallery.open(tmp_path).search(vector=query, k=3)
    assert [(hit.row, hit.metadata["duplicate_of"], hit.folded) for hit in hits] == [
        (0, None, 0),
        (1, 0, 0),
        (2, None, 0),
    ]
    assert [hit["metadata"].get("duplicate_of") for hit in hits.to_json()["hits"]] == [None, 0, None]
    assert all("folded" not in hit for hit in hits.to_json()["hits"])


def test_folding_is_told_in_json(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 1, 50))
    find_duplicates(tmp_path)
    hits = Gallery.open(tmp_path).search(vector=at_angles(1)[0], k=3, fold_duplicates=True).to_json()["hits"]
    assert [(hit["row"], hit["folded"]) for hit in hits] == [(1, 1), (2, 0)]


def test_a_gallery_without_any_duplicates_folds_nothing(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 50))
    find_duplicates(tmp_path)
    hits = Gallery.open(tmp_path).search(vector=at_angles(0)[0], k=3, fold_duplicates=True)
    assert [(hit.row, hit.folded, hit.metadata["duplicate_of"]) for hit in hits] == [(0, 0, None), (1, 0, None)]


def test_rows_that_were_not_examined_stand_for_themselves(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 1))
    find_duplicates(tmp_path)
    plant(tmp_path, at_angles(2))
    gallery = Gallery.open(tmp_path)
    assert gallery.duplicates is not None
    assert len(gallery) - gallery.duplicates.num_rows == 1
    hits = gallery.search(vector=at_angles(0)[0], k=3, fold_duplicates=True)
    assert [(hit.row, hit.folded) for hit in hits] == [(0, 1), (2, 0)]


def test_an_empty_gallery_folds_too(tmp_path: Path) -> None:
    plant(tmp_path, np.zeros((0, 2)))
    find_duplicates(tmp_path)
    assert len(Gallery.open(tmp_path).search(vector=at_angles(0)[0], fold_duplicates=True)) == 0


def test_folding_asks_for_dedup_first(tmp_path: Path) -> None:
    plant(tmp_path, at_angles(0, 1))
    with pytest.raises(InputError, match="diantu dedup --gallery"):
        Gallery.open(tmp_path).search(vector=at_angles(0)[0], fold_duplicates=True)
