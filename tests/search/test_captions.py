"""Searching the vectors of captions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from galleries import DIM, FURTHER, SPEC, keyed, unit, write_gallery

from diantu.datasets import InputError
from diantu.indexing.upkeep.deletion import delete
from diantu.indexing.upkeep.importing import import_vectors
from diantu.search import Gallery, Query

SIZES = (30, 0, 20)
IMAGES, CAPTIONS = (
    np.concatenate([unit(3 * number + i, size) for number, size in enumerate(SIZES)]).astype(np.float16) for i in (0, 2)
)
SILENT = [3, 4, 33]  # rows without a caption


class Words:
    """Text encoder of the main space: `row 7` is the vector of that row's caption."""

    spec = SPEC

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.stack([CAPTIONS[int(text.split()[1])].astype(np.float32) for text in texts])


def records() -> list[list[dict[str, Any]]]:
    parts = keyed(*SIZES)
    for record in (record for part in parts for record in part):
        if record["number"] in SILENT:
            record["caption"] = None
    return parts


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.open(write_gallery(tmp_path / "g", records(), texts=True), encoder=Words())  # type: ignore[arg-type]


def rows(hits: object) -> list[int]:
    return [hit.row for hit in hits]  # type: ignore[attr-defined]


def order(emb_D: np.ndarray, but: list[int] = SILENT) -> list[int]:
    """All rows whose caption has a vector, nearest caption first."""
    ordered = np.argsort(-(CAPTIONS.astype(np.float32) @ emb_D), kind="stable").tolist()
    return [row for row in ordered if row not in but]


def test_captions_are_searched_by_their_own_vectors(gallery: Gallery) -> None:
    vector = unit(99, 1)[0]
    hits = gallery.search(vector=vector, k=50, over="captions")
    assert rows(hits) == order(vector)
    scores = CAPTIONS.astype(np.float32)[order(vector)] @ vector
    assert [hit.score for hit in hits] == pytest.approx(scores.tolist(), abs=1e-5)
    assert {hit.zscore for hit in hits} == {None}
    assert (hits.explain["over"], hits.explain["strategy"], hits.explain["compared"]) == ("captions", "exact", 47)
    images = gallery.search(vector=vector, k=50)
    assert len(images) == 50
    assert "over" not in images.explain
    assert gallery.search("row 8", k=1, over="captions")[0].row == 8


def test_a_row_stands_for_its_caption(gallery: Gallery) -> None:
    hits = gallery.search(Query(rows=[7]), k=10, over="captions")
    assert rows(hits) == order(CAPTIONS[7].astype(np.float32))[:10]
    with pytest.raises(InputError, match="a row of the query has no vector; leave it out"):
        gallery.search(Query(rows=[SILENT[0]]), over="captions")


def test_filters_pages_and_deletions_hold_over_captions(gallery: Gallery) -> None:
    vector = unit(99, 1)[0]
    delete(gallery.path, keys=["0-6", "2-5"])
    assert gallery.refresh()
    expected = [row for row in order(vector, [*SILENT, 6, 35]) if row < 40]
    found = [
        row
        for offset in (0, 10, 20, 30)
        for row in rows(gallery.search(vector=vector, k=10, offset=offset, where="number < 40", over="captions"))
    ]
    assert found == expected
    hits = gallery.search(vector=vector, where="number < 40", over="captions")
    assert (hits.explain["rows"], hits.explain["share"]) == (35, round(35 / 45, 6))


def test_every_order_works_over_captions(gallery: Gallery) -> None:
    vector = unit(99, 1)[0]
    near = order(vector)[:20]
    by_number = gallery.search(vector=vector, k=20, window=20, sort_by="-number", over="captions")
    assert rows(by_number) == sorted(near, reverse=True)
    diverse = rows(gallery.search(vector=vector, k=20, window=20, diversity=0.5, over="captions"))
    assert diverse[0] == near[0]
    assert sorted(diverse) == sorted(near)
    assert diverse != near
    threshold = gallery.search(vector=vector, k=50, min_score=0.2, over="captions")
    assert all(hit.score >= 0.2 for hit in threshold)
    assert 0 < len(threshold) < 47
    reranked = gallery.search(Query(text="row 8", rows=[9]), k=20, window=20, rerank="further", over="captions")
    assert sorted(rows(reranked)) == sorted(order(CAPTIONS[8].astype(np.float32))[:20])


def test_a_gallery_says_what_can_be_searched(gallery: Gallery, tmp_path: Path) -> None:
    without = Gallery.open(write_gallery(tmp_path / "images only", keyed(3)))
    assert (gallery.over, without.over) == (["images", "captions"], ["images"])
    assert gallery.vectors([5, SILENT[0]], over="captions").tolist() == [CAPTIONS[5].tolist(), [0.0] * DIM]
    assert gallery.vectors([5]).tolist() == [IMAGES[5].tolist()]


@pytest.mark.parametrize(
    ("search", "message"),
    [
        (lambda g: g.search("row 1", over="texts"), "over 'texts' is not known; search over images or captions"),
        (
            lambda g: g.search("row 1", over="captions", space="further"),
            f"captions are embedded by {SPEC.name}, not by {FURTHER.name}; leave out space or over",
        ),
        (lambda g: g.search("row 1", over="captions", min_zscore=1), "zscores of captions are not known here"),
    ],
)
def test_what_cannot_be_searched_over_captions_is_told(
    gallery: Gallery, search: Callable[[Gallery], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        search(gallery)


def test_a_gallery_without_vectors_of_captions_says_so(tmp_path: Path) -> None:
    without = Gallery.open(write_gallery(tmp_path / "g", keyed(3)))
    with pytest.raises(InputError, match=r"has no vectors of captions; .* diantu embed --texts captions"):
        without.search(vector=unit(0, 1)[0], over="captions")


def test_no_caption_says_anything(tmp_path: Path) -> None:
    silent = [[{"key": str(row), "caption": None} for row in range(3)]]
    gallery = Gallery.open(write_gallery(tmp_path / "g", silent, texts=True))
    assert len(gallery.search(vector=unit(0, 1)[0], over="captions")) == 0
    assert len(gallery.search(vector=unit(0, 1)[0])) == 3


def test_captions_of_clip_retrieval_are_searched(tmp_path: Path) -> None:
    """Its files may hold vectors of captions that are zero or not finite."""
    for name in ("img_emb", "text_emb", "metadata"):
        (tmp_path / "theirs" / name).mkdir(parents=True)
    texts_ND = unit(2, 5)
    texts_ND[1], texts_ND[3, 0] = 0, np.nan
    np.save(tmp_path / "theirs/img_emb/img_emb_0.npy", unit(1, 5))
    np.save(tmp_path / "theirs/text_emb/text_emb_0.npy", texts_ND)
    pq.write_table(pa.table({"caption": list("abcde")}), tmp_path / "theirs/metadata/metadata_0.parquet")
    import_vectors(tmp_path / "theirs", tmp_path / "gallery", SPEC)
    hits = Gallery.open(tmp_path / "gallery").search(vector=unit(2, 5)[4], over="captions")
    assert sorted(rows(hits)) == [0, 2, 4]
    assert hits[0].caption == "e"
