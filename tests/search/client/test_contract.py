"""Code that searches a `Gallery` works with a `Client`: the same assertions over both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image
from services import running

from diantu.datasets import PixelsError, photos
from diantu.indexing import load_encoder
from diantu.indexing.encoders import ImageEncoder
from diantu.search import Client, DiantuError, Gallery, Hits, Query

Either: TypeAlias = "Gallery | Client"
OWL, CAT = photos.FOLDER / "animal_owl.jpg", photos.FOLDER / "animal_cat.jpg"


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return load_encoder("conse")


@pytest.fixture(scope="module")
def client(demo: Path, encoder: ImageEncoder) -> Iterator[Client]:
    with running(demo / "gallery", encoder) as url, Client(url) as client:
        yield client


@pytest.fixture(scope="module")
def local(demo: Path, encoder: ImageEncoder) -> Gallery:
    return Gallery.open(demo / "gallery", encoder=encoder)


@pytest.fixture(params=["gallery", "client"])
def gallery(request: pytest.FixtureRequest, local: Gallery, client: Client) -> Either:
    return local if request.param == "gallery" else client


def facts(hits: Hits) -> list[Any]:
    """What the hits say, but for their numbers."""
    return [(hit.rank, hit.row, hit.key, hit.caption, hit.folded, hit.zscore is None) for hit in hits]


QUERIES: dict[str, dict[str, Any]] = {
    "a text": {"query": "大熊猫", "k": 5},
    "the path of an image": {"image": OWL, "k": 3},
    "the bytes of an image": {"image": OWL.read_bytes(), "k": 3},
    "a picture": {"image": Image.open(OWL), "k": 3},
    "an array": {"image": np.asarray(Image.open(OWL).convert("RGB")), "k": 3},
    "a text and an image": {"query": "a dog", "image": str(CAT), "k": 4},
    "a mix": {
        "query": Query(
            texts=["a castle", ("by the sea", 0.5)], images=[(OWL, 0.25)], rows=[3, (17, 0.5)],
            negatives=["windmill", (CAT, 0.1)],
        ),
        "k": 6,
    },
    "a condition": {"query": "castle", "where": "aspect > 1.2 AND colorfulness > 20", "missing": "include", "k": 4},
    "a page": {"query": "castle", "offset": 4, "k": 4, "effort": "exact"},
    "an order": {"query": "castle", "sort_by": "-width", "window": 30, "k": 3, "columns": ("width", "licence")},
    "diversity": {"query": "castle", "diversity": 0.4, "k": np.int64(4)},
    "thresholds": {"query": "大熊猫", "min_score": 0.7, "min_zscore": np.float32(3.5)},
    "no hits": {"query": "washing machine", "min_zscore": 9.0},
}  # fmt: skip


@pytest.mark.parametrize("asked", QUERIES.values(), ids=QUERIES)
def test_both_give_the_same_hits(local: Gallery, client: Client, asked: dict[str, Any]) -> None:
    ours, theirs = local.search(**asked), client.search(**asked)
    assert facts(theirs) == facts(ours)
    assert [hit.score for hit in theirs] == pytest.approx([hit.score for hit in ours], abs=1e-6)  # as JSON rounds them
    assert [hit.zscore or 0 for hit in theirs] == pytest.approx([hit.zscore or 0 for hit in ours], abs=1e-3)
    assert [dict(hit.metadata) for hit in theirs] == [dict(hit.metadata) for hit in ours]
    assert theirs.to_json()["query"] == ours.to_json()["query"]
    assert theirs.query.label == ours.query.label
    assert {**theirs.explain, "ms": 0} == {**ours.explain, "ms": 0}
    assert theirs.to_arrow().column_names == ours.to_arrow().column_names


def test_what_the_gallery_has(gallery: Either) -> None:
    assert len(gallery) == 184
    assert gallery.spaces == ["conse"]
    assert {"key", "width", "category", "dominant_color", "aspect"} <= set(gallery.columns)


def test_both_name_the_same_columns(local: Gallery, client: Client) -> None:
    assert client.columns == local.columns


def test_hits_are_a_sequence_with_images(gallery: Either, tmp_path: Path) -> None:
    hits = gallery.search("大熊猫", k=3)
    assert (len(hits), hits[0].key, [hit.rank for hit in hits[1:]]) == (3, "animal_panda", [2, 3])
    assert hits[0].bytes() == (photos.FOLDER / "animal_panda.jpg").read_bytes()
    assert np.array_equal(hits[0].image(), Image.open(photos.FOLDER / "animal_panda.jpg").convert("RGB"))
    for size in (8, 100, 3000):
        thumbnail = hits[0].thumbnail(size)
        assert max(thumbnail.size) == min(size, max(hits[0].image().size))
    assert hits[0].thumbnail_bytes(64, image_format="PNG").startswith(b"\x89PNG")
    page = hits.sheet(tmp_path / "hits.html").read_text("utf-8")
    assert page.count("data:image/") >= 3
    assert hits.to_dicts()[0]["category"] == "animal"
    assert hits.to_csv(tmp_path / "hits.csv").read_text("utf-8-sig").splitlines()[0].startswith("rank,row,score")


def test_columns_without_a_value_are_none(gallery: Either) -> None:
    hit = gallery.search("大熊猫", k=1)[0]
    assert hit.metadata["caption"] == hit.caption
    assert hit.metadata["url"] is None
    limited = gallery.search("大熊猫", k=1, columns=["width"])[0].metadata
    assert limited["width"] == hit.metadata["width"]
    assert "category" not in limited


def test_many_queries_are_answered_in_their_order(gallery: Either) -> None:
    (panda,) = gallery.search("大熊猫", k=1)
    asked: list[str | Query] = ["koala", Query(rows=[panda.row]), "考拉"] * 25  # more than one request may have
    answers = gallery.search_many(asked, k=1)
    assert [hits[0].key for hits in answers] == ["animal_koala", "animal_panda", "animal_koala"] * 25
    assert gallery.search_many([]) == []


def test_rows_have_their_metadata(gallery: Either) -> None:
    rows = np.array([hit.row for hit in gallery.search("hammer", k=3)])
    few = gallery.rows(rows, columns=["key", "width"])
    assert [list(record) for record in few] == [["key", "width"]] * 3
    everything = gallery.rows(rows)
    assert [record["key"] for record in everything] == [record["key"] for record in few]
    assert everything[0]["category"] == "tool"
    assert everything[0]["url"] is None
    assert len(gallery.rows([0, 1] * 600, columns=["key"])) == 1200  # more than one request may have
    assert gallery.rows([]) == []


def test_both_give_the_same_rows(local: Gallery, client: Client) -> None:
    assert client.rows([5, 0, 183]) == local.rows([5, 0, 183])


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "the query is empty"),
    "a blank text": ({"query": "  "}, "the text of the query is empty"),
    "a text of controls": ({"query": "\u200b"}, "the text of the query is empty"),
    "no image": ({"image": "/no/such.jpg"}, "the image /no/such.jpg cannot be read"),
    "bytes of no image": ({"image": b"abc"}, "the given bytes cannot be read"),
    "a vector of another size": ({"vector": np.ones(3)}, "the vector has shape 3; the gallery's encoder conse gives"),
    "k": ({"query": "a", "k": 0}, "k is 0; give at least 1"),
    "a column": ({"query": "a cat", "where": "widht > 1"}, "width"),
    "no condition": ({"query": "a cat", "where": "width >"}, "width >"),
    "a space": ({"query": "a cat", "space": "dino"}, "the space 'dino' is not one of the gallery's"),
    "folding": ({"query": "a cat", "fold_duplicates": True}, "near-duplicates"),
    "a row": ({"query": Query(rows=[999])}, "row 999 is not one of the gallery's rows, which are 0 to 183"),
    "a query with company": ({"query": Query(text="a"), "vector": np.ones(3)}, "a Query has its own images"),
    "a sort column": ({"query": "a cat", "sort_by": "none"}, "none"),
}


@pytest.mark.parametrize(("asked", "sentence"), BAD.values(), ids=BAD)
def test_bad_input_gets_the_same_sentence(local: Gallery, client: Client, asked: dict[str, Any], sentence: str) -> None:
    said = []
    for gallery in (local, client):
        with pytest.raises(DiantuError) as error:
            gallery.search(**asked)
        assert isinstance(error.value, ValueError)
        said.append(str(error.value))
    assert sentence in said[0]
    assert said[1] == said[0]


def test_bad_rows_and_lists_get_the_same_sentence(gallery: Either) -> None:
    with pytest.raises(ValueError, match="row 184 is not one of the gallery's rows, which are 0 to 183"):
        gallery.rows([0, 184])
    with pytest.raises(ValueError, match="dominant"):
        gallery.rows([0], columns=["dominant_colour"])
    with pytest.raises(ValueError, match="queries takes a list"):
        gallery.search_many("koala")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="limit"):
        gallery.search("koala", limit=3)  # pyright: ignore[reportCallIssue]


def test_an_image_that_is_gone_is_no_longer_there(tmp_path: Path, encoder: ImageEncoder) -> None:
    from diantu.indexing import add_images

    add_images(tmp_path / "g", [("owl", OWL, None)], encoder)
    with running(tmp_path / "g", encoder) as url, Client(url) as client:
        galleries: list[Either] = [Gallery.open(tmp_path / "g", encoder=encoder), client]
        found = [gallery.search("owl", k=1)[0] for gallery in galleries]
        for file in (tmp_path / "g" / "added").rglob("*.parquet"):
            file.unlink()
        for hit in found:
            with pytest.raises(PixelsError, match="the pixels of owl cannot be read"):
                hit.image()
            with pytest.raises(PixelsError):
                hit.thumbnail(64)
