"""Mixed queries, against sums of the encoder's own vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diantu.datasets import InputError, photos
from diantu.search import Gallery, Hits, Query

CAT, DOG = photos.FOLDER / "animal_cat.jpg", photos.FOLDER / "animal_dog.jpg"


@pytest.fixture(scope="module")
def gallery(demo: Path) -> Gallery:
    return Gallery.open(demo / "gallery")


def rows(hits: Sequence[object]) -> list[int]:
    return [hit.row for hit in hits]  # type: ignore[attr-defined]


def text(gallery: Gallery, words: str) -> np.ndarray:
    return gallery.encoder.encode_texts([words])[0]  # type: ignore[attr-defined]


def picture(gallery: Gallery, path: Path) -> np.ndarray:
    hits = gallery.search(image=path, k=1)
    return gallery._version.main.index.vectors.rows(np.array([hits[0].row]))[0]


def expected(gallery: Gallery, emb_D: np.ndarray, k: int) -> list[int]:
    emb_ND = gallery._version.main.index.vectors.rows(np.arange(len(gallery)))
    return np.argsort(-(emb_ND @ emb_D), kind="stable")[:k].tolist()


def test_parts_are_added_with_their_weights(gallery: Gallery) -> None:
    query = Query(texts=["一只猫", ("hammer", 0.5)], image=(CAT, 2.0), negatives=["dog", ("城堡", 0.25)])
    total = text(gallery, "一只猫") + 0.5 * text(gallery, "hammer") + 2 * picture(gallery, CAT)
    total = total - 0.5 * text(gallery, "dog") - 0.25 * text(gallery, "城堡")
    assert rows(gallery.search(query, k=10)) == expected(gallery, total, 10)


def test_every_kind_of_part(gallery: Gallery) -> None:
    vector, row = 5 * text(gallery, "owl"), gallery.search(image=DOG, k=1)[0].row
    stored = gallery._version.main.index.vectors.rows(np.array([row]))[0]
    query = Query(vector=vector, rows=[(row, 2.0)], images=[Image.open(CAT)], negatives=[DOG])
    total = vector / 5 + 2 * stored / np.linalg.norm(stored) + picture(gallery, CAT) - 0.5 * picture(gallery, DOG)
    found = gallery.search(query, k=8)
    assert rows(found)[:5] == expected(gallery, total, 8)[:5]  # the picture's own vector is stored as float16
    assert found.query.kind == "mixed"
    assert found.query.image is not None


def test_a_text_with_half_of_a_surrogate_pair_is_repaired() -> None:
    assert Query(text="cat \ud83d").parts()[0].value == "cat \ufffd"


def test_a_text_beside_a_picture_mixes_them(gallery: Gallery) -> None:
    assert rows(gallery.search("dog", image=CAT, k=6)) == rows(gallery.search(Query(text="dog", image=CAT), k=6))
    assert gallery.search("dog", image=CAT, k=1).query.label == "dog + animal_cat.jpg"


def test_negatives_push_rows_away(gallery: Gallery) -> None:
    plain = gallery.search("animal", k=184)
    without = gallery.search(Query(text="animal", negatives=["狗"]), k=184)
    place = {hit.row: hit.rank for hit in plain}
    dogs = [hit for hit in without if hit.key == "animal_dog"]
    assert dogs[0].rank > place[dogs[0].row]
    assert without.query.label == "animal − 狗"
    assert without.to_json()["query"] == {"parts": [{"text": "animal", "weight": 1.0}, {"text": "狗", "weight": -0.5}]}


def test_a_batch_answers_like_its_queries(gallery: Gallery) -> None:
    questions = ["大熊猫", Query(image=CAT), Query(texts=["owl"], rows=[3]), "一座城堡"]
    together = gallery.search_many(questions, k=7, where="width >= 300")
    for question, hits in zip(questions, together, strict=True):
        alone = gallery.search(question, k=7, where="width >= 300")
        assert rows(hits) == rows(alone)
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in alone], abs=1e-4)
        assert hits.query.label == alone.query.label
    assert gallery.search_many([]) == []


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(), "the query is empty"),
        (Query(negatives=["dog"]), "the query is empty"),
        (Query(texts=["a", " "]), "text of the query is empty"),
        (Query(texts=[("a", 0)]), "weight 0; give one above 0"),
        (Query(texts=[("a", float("nan"))]), "query is nan; give a number"),
        (Query(rows=[184]), "row 184 is not one of the gallery's rows, which are 0 to 183"),
        (Query(rows=[-1]), "row -1 is not one"),
        (Query(text="a", negatives=[("a", 1)]), "cancel each other out"),
        (Query(images=["/no/such.jpg"]), "cannot be read"),
        (Query(images=[7]), "a int is not an image"),  # type: ignore[list-item]
        (Query(text=5), "a text of the query is 5; give a text"),  # type: ignore[arg-type]
        (Query(texts=[("a", "b")]), "the weight of a part of the query is 'b'; give a number"),  # type: ignore[list-item]
        (Query(texts=[("a", 1, 2)]), r"a tuple of 3 values; give \(part, weight\)"),  # type: ignore[list-item]
        (Query(rows=[10**30]), "not row ids"),
        (Query(rows=[0.5]), "a row of the query is 0.5; give a whole number"),  # type: ignore[list-item]
        (Query(vector=np.array(["x"])), "not an array of numbers: it holds values of the type <U1"),
        (Query(vector=[1, [2]]), "not an array of numbers"),  # type: ignore[arg-type]
        (Query(vector=[10**400]), "not an array of numbers"),  # type: ignore[arg-type]
    ],
)
def test_queries_that_cannot_be_used(gallery: Gallery, query: Query, message: str) -> None:
    with pytest.raises(InputError, match=message):
        gallery.search(query)


def test_mistakes_of_form_are_told(gallery: Gallery) -> None:
    with pytest.raises(InputError, match=r"texts takes a list; give texts=\["):
        Query(texts="panda")
    for name, given in {"vectors": 5, "rows": None, "images": np.array(3), "negatives": {"a": 1}}.items():
        with pytest.raises(InputError, match=f"{name} takes a list"):
            Query(text="panda", **{name: given})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="one of texts is 5"):
        gallery.encode_texts([5])  # type: ignore[list-item]
    with pytest.raises(InputError, match="put them there"):
        gallery.search(Query(text="panda"), image=CAT)
    with pytest.raises(InputError, match="queries takes a list"):
        gallery.search_many("panda")


def keys(hits: Hits) -> list[str]:
    return [hit.key for hit in hits]
