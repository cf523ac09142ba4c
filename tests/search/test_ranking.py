"""Orders, thresholds and pages, against plain Python over all rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planted import plant, stored, unit

from diantu.datasets import InputError
from diantu.indexing.build.job import build_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.upkeep.dedup import find_duplicates
from diantu.search import Gallery, Hits

NUM, DIM = 400, 12


@pytest.fixture(scope="module", params=["Flat", "IVF8,PQ6x4fs"])
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Gallery, np.ndarray]:
    rng = np.random.default_rng(0)
    emb_ND = unit(rng.standard_normal((NUM, DIM)))
    emb_ND[50:60] = emb_ND[40:50]  # ten pairs of the same
    records: list[dict[str, Any]] = [
        {
            "width": int(rng.integers(100, 1000)),
            **({"AESTHETIC_SCORE": float(rng.uniform(1, 10))} if row % 3 else {}),
            **({"punsafe": float(rng.random())} if row % 5 else {}),
        }
        for row in range(NUM)
    ]
    root = plant(tmp_path_factory.mktemp("ranking"), emb_ND, records, num_parts=3)
    build_index(root, None, request=IndexRequest(factory=request.param))
    find_duplicates(root, threshold=0.999)
    return Gallery.open(root), stored(emb_ND)


def rows(hits: Hits) -> list[int]:
    return [hit.row for hit in hits]


def query_of(seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal(DIM))


@settings(max_examples=8, deadline=None)
@example(seed=0, k=1, fold=False, where=None)  # one search per row, so not drawn more often
@given(
    seed=st.integers(0, 1000), k=st.integers(15, 90), fold=st.booleans(), where=st.sampled_from([None, "width > 500"])
)
def test_pages_of_the_same_size_neither_repeat_nor_skip(
    planted: tuple[Gallery, np.ndarray], seed: int, k: int, fold: bool, where: str | None
) -> None:
    gallery, _ = planted
    vector = query_of(seed)
    options: dict[str, Any] = {"fold_duplicates": fold, "where": where, "k": k}
    pages = [gallery.search(vector=vector, offset=offset, **options) for offset in range(0, NUM + k, k)]
    found = [row for page in pages for row in rows(page)]
    assert len(found) == len(set(found)) > 0
    qualifying = gallery.search(vector=vector, where=where, k=NUM, effort="exact", fold_duplicates=fold)
    assert set(found) == set(rows(qualifying)) or fold  # of a pair that scores the same, either one may answer
    assert len(found) == len(qualifying)
    assert [hit.rank for page in pages for hit in page] == list(range(1, len(found) + 1))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), diversity=st.sampled_from([0.1, 0.5, 0.9, 1.0]), k=st.integers(1, 15))
def test_diversity_is_maximal_marginal_relevance(
    planted: tuple[Gallery, np.ndarray], seed: int, diversity: float, k: int
) -> None:
    gallery, emb_ND = planted
    vector, window = query_of(seed), max(100, 10 * k)
    left = rows(gallery.search(vector=vector, k=window, effort="exact"))
    hits = gallery.search(vector=vector, k=k, diversity=diversity, window=window, effort="exact")
    taken: list[int] = []

    def marginal(row: int) -> float:
        likeness = max((float(emb_ND[row] @ emb_ND[other]) for other in taken), default=0.0)
        return (1 - diversity) * float(emb_ND[row] @ vector) - diversity * likeness

    for row in rows(hits):
        assert row in left
        assert marginal(row) >= max(map(marginal, left)) - 1e-5  # of rows that tie either one may come first
        left.remove(row)
        taken.append(row)
    assert len(taken) == k


def test_more_diversity_makes_hits_less_alike(planted: tuple[Gallery, np.ndarray]) -> None:
    gallery, emb_ND = planted

    def likeness(diversity: float) -> float:
        found = emb_ND[rows(gallery.search(vector=query_of(1), k=10, diversity=diversity))]
        return float(np.triu(found @ found.T, 1).sum())

    assert likeness(0.9) < likeness(0.5) < likeness(0.0)


def test_thresholds(planted: tuple[Gallery, np.ndarray]) -> None:
    gallery, emb_ND = planted
    vector = query_of(2)
    above = gallery.search(vector=vector, k=NUM, min_score=0.3)
    assert set(rows(above)) == set(np.flatnonzero(emb_ND @ vector >= 0.3).tolist())
    assert len(gallery.search(vector=vector, k=3, min_score=0.3)) == 3
    assert len(gallery.search(vector=vector, min_score=2.0)) == 0
    with pytest.raises(InputError, match="zscores of vector queries are not known"):
        gallery.search(vector=vector, min_zscore=1.0)


@pytest.mark.parametrize("descending", [False, True])
def test_sorted_by_a_column(planted: tuple[Gallery, np.ndarray], descending: bool) -> None:
    gallery, _ = planted
    sign = "-" if descending else ""
    hits = gallery.search(vector=query_of(3), k=60, sort_by=f"{sign}punsafe", window=60)
    assert set(rows(hits)) == set(rows(gallery.search(vector=query_of(3), k=60)))
    values = [hit.metadata["punsafe"] for hit in hits]
    known = [value for value in values if value is not None]
    assert known == sorted(known, reverse=descending)
    assert values[len(known) :] == [None] * (len(values) - len(known))


def test_the_aesthetic_term_changes_the_order_and_not_the_scores(planted: tuple[Gallery, np.ndarray]) -> None:
    gallery, emb_ND = planted
    vector = query_of(4)
    pool = gallery.search(vector=vector, k=100)
    known = [hit.metadata["AESTHETIC_SCORE"] for hit in pool if hit.metadata["AESTHETIC_SCORE"] is not None]
    average = np.mean(known)

    def rank(hit: Any) -> float:
        value = hit.metadata["AESTHETIC_SCORE"]
        return hit.score + 0.7 * (average if value is None else value) / 10

    hits = gallery.search(vector=vector, k=10, aesthetic=0.7)
    assert rows(hits) == [hit.row for hit in sorted(pool, key=rank, reverse=True)][:10]
    for hit in hits:
        assert hit.score == pytest.approx(float(emb_ND[hit.row] @ vector), abs=1e-5)


def test_pages_of_an_order_lie_within_its_window(planted: tuple[Gallery, np.ndarray]) -> None:
    gallery, _ = planted
    whole = rows(gallery.search(vector=query_of(5), k=30, window=90, diversity=0.4))
    pages = [gallery.search(vector=query_of(5), k=10, offset=o, window=90, diversity=0.4) for o in (0, 10, 20)]
    assert [row for page in pages for row in rows(page)] == whole
    with pytest.raises(InputError, match="give window=100 or more"):
        gallery.search(vector=query_of(5), k=10, offset=90, window=90, diversity=0.4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "offset is -1"),
        ({"diversity": 1.5}, "diversity is 1.5"),
        ({"missing": "drop"}, "missing 'drop' is not known"),
        ({"sort_by": "width", "diversity": 0.5}, "cannot be combined"),
        ({"sort_by": "widht"}, "names a column 'widht' .* the nearest: width"),
        ({"columns": ["widht"]}, "names a column 'widht'"),
        ({"window": 50}, "none of them is given"),
        ({"space": "dinov2"}, "the space 'dinov2' is not one of the gallery's, which are: hf:x"),
        ({"effort": "lots"}, "'lots' is not known"),
        ({"where": "widht > 5"}, "the nearest: width"),
    ],
)
def test_options_that_cannot_be_used(
    planted: tuple[Gallery, np.ndarray], options: dict[str, Any], message: str
) -> None:
    gallery, _ = planted
    with pytest.raises(InputError, match=message):
        gallery.search(vector=query_of(0), **options)


@pytest.mark.parametrize("where", ["width > 900", "punsafe < 0.02", "width < 0", "AESTHETIC_SCORE > 5 AND width > 300"])
@pytest.mark.parametrize("missing", ["exclude", "include"])
def test_filters_give_k_rows_whenever_k_qualify(planted: tuple[Gallery, np.ndarray], where: str, missing: Any) -> None:
    gallery, emb_ND = planted
    tests: dict[str, Callable[[dict[str, Any]], bool | None]] = {
        "width > 900": lambda r: r["width"] > 900,
        "punsafe < 0.02": lambda r: None if r["punsafe"] is None else r["punsafe"] < 0.02,
        "width < 0": lambda r: False,
        "AESTHETIC_SCORE > 5 AND width > 300": lambda r: (
            False if r["width"] <= 300 else None if r["AESTHETIC_SCORE"] is None else r["AESTHETIC_SCORE"] > 5
        ),
    }
    records = gallery._version.metadata.rows(np.arange(NUM))
    answers = [tests[where](record) for record in records]
    met = [row for row, answer in enumerate(answers) if answer or (answer is None and missing == "include")]
    vector = query_of(6)
    hits = gallery.search(vector=vector, k=8, where=where, missing=missing)
    assert len(hits) == min(8, len(met))
    assert rows(hits) == sorted(met, key=lambda row: -float(emb_ND[row] @ vector))[: len(hits)]
    assert hits.explain["rows"] == len(met)
    assert hits.explain["strategy"].startswith("exact")
    assert hits.explain["where"] == where
    every = gallery.search(vector=vector, k=NUM, where=where, missing=missing)
    assert sorted(rows(every)) == met


def test_only_the_columns_that_are_asked_for(planted: tuple[Gallery, np.ndarray]) -> None:
    gallery, _ = planted
    (hit,) = gallery.search(vector=query_of(0), k=1, columns=["aesthetic"])
    assert "AESTHETIC_SCORE" in hit.metadata
    assert "width" not in hit.metadata
    assert hit.key == str(hit.row)
