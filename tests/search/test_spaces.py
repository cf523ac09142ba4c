"""Searching the vectors of further encoders, and ranking by them what another one found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from galleries import DIM, FURTHER, SPEC, keyed, unit, write_gallery

from diantu.datasets import InputError
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery, Query

SIZES = (30, 0, 20)
SPACES = [np.concatenate([unit(3 * number + i, size) for number, size in enumerate(SIZES)]) for i in range(2)]


class Words:
    """Text encoder of the main space: a word is a row's vector, `row 7`."""

    spec = SPEC

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.stack([SPACES[0][int(text.split()[1])] for text in texts])


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.open(write_gallery(tmp_path / "g", keyed(*SIZES)), encoder=Words())  # type: ignore[arg-type]


def rows(hits: object) -> list[int]:
    return [hit.row for hit in hits]  # type: ignore[attr-defined]


def order(space: int, emb_D: np.ndarray) -> list[int]:
    return np.argsort(-(SPACES[space].astype(np.float16).astype(np.float32) @ emb_D), kind="stable").tolist()


@pytest.mark.parametrize("name", ["further", "hf:further", "hf_further"])
def test_a_further_space_is_searched_by_its_own_vectors(gallery: Gallery, name: str) -> None:
    assert gallery.spaces == [SPEC.name, FURTHER.name]
    vector = unit(99, 1)[0]
    assert rows(gallery.search(vector=vector, k=50)) == order(0, vector)
    hits = gallery.search(vector=vector, k=50, space=name)
    assert rows(hits) == order(1, vector)
    assert hits.explain["space"] == FURTHER.name
    assert hits[0].zscore is None


def test_rows_are_queries_in_every_space(gallery: Gallery) -> None:
    for space, name in enumerate((None, "further")):
        assert rows(gallery.search(Query(rows=[7]), k=10, space=name)) == order(space, SPACES[space][7])[:10]


def test_filters_and_deletions_hold_in_every_space(gallery: Gallery) -> None:
    vector = unit(99, 1)[0]
    delete(gallery.path, keys=["0-3", "2-5"])
    assert gallery.refresh()
    expected = [row for row in order(1, vector) if row % 2 == 0 and row not in (3, 35)]
    assert rows(gallery.search(vector=vector, k=50, space="further", where="number % 2 = 0")) == expected


def test_what_one_space_finds_another_one_ranks(gallery: Gallery) -> None:
    """By the text in the main space, by the row's looks in the further one."""
    hits = gallery.search(Query(text="row 4", rows=[9]), k=5, rerank="further", window=20)
    pool = order(0, SPACES[0][4])[:20]
    expected = [row for row in order(1, SPACES[1][9]) if row in pool]
    assert rows(hits) == expected[:5]
    looks = SPACES[1].astype(np.float16).astype(np.float32) @ SPACES[1][9]
    assert [hit.score for hit in hits] == pytest.approx(looks[expected[:5]].tolist(), abs=1e-3)
    assert [hit.zscore for hit in hits] == [None] * 5


def test_without_texts_all_parts_find_and_rank(gallery: Gallery) -> None:
    hits = gallery.search(Query(rows=[9]), k=5, rerank="further", window=20)
    pool = order(0, SPACES[0][9])[:20]
    assert rows(hits) == [row for row in order(1, SPACES[1][9]) if row in pool][:5]


def test_what_a_space_cannot_do_is_told(gallery: Gallery) -> None:
    with pytest.raises(InputError, match=r"the space 'hf' fits several .*: hf:x, hf:further"):
        gallery.search("row 1", space="hf")
    with pytest.raises(InputError, match="the space 'clip' is not one of the gallery's, which are: hf:x, hf:further"):
        gallery.search("row 1", space="clip")
    with pytest.raises(InputError, match="rerank compares images; add an image"):
        gallery.search("row 1", rerank="further")
    with pytest.raises(InputError, match=f"vectors of {DIM}"):
        gallery.search(vector=np.ones(DIM + 1), space="further")
    with pytest.raises(InputError, match="zscores of further spaces are not known"):
        gallery.search(Query(rows=[1]), space="further", min_zscore=1)
