"""Rows, vectors and encodings of an open gallery, without a search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from galleries import FURTHER, SPEC, keyed, unit, write_gallery
from PIL import Image

from diantu.datasets import InputError
from diantu.datasets.errors import RowError
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery

SIZES = (4, 3)


class Shades:
    """An encoder whose vectors say how long a text is, and how bright an image."""

    spec = SPEC

    def preprocess(self, rgb_HWC: np.ndarray) -> np.ndarray:
        return rgb_HWC[:2, :2].transpose(2, 0, 1)

    def encode_images(self, pixels_BCHW: object) -> np.ndarray:
        angles_B = np.asarray(pixels_BCHW, np.float32).mean(axis=(1, 2, 3)) / 255
        return np.stack([np.cos(angles_B), np.sin(angles_B), *np.zeros((6, len(angles_B)))], axis=1).astype(np.float32)

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        return np.eye(8, dtype=np.float32)[[len(text) % 8 for text in texts]]


@pytest.fixture
def gallery(tmp_path: Path) -> Gallery:
    return Gallery.open(write_gallery(tmp_path / "g", keyed(*SIZES)), encoder=Shades())


def test_metadata_comes_in_the_order_given(gallery: Gallery) -> None:
    assert [record["key"] for record in gallery.rows([5, 0, 5, 3])] == ["1-1", "0-0", "1-1", "0-3"]
    assert gallery.rows([5], columns=["number"]) == [{"number": 5}]
    assert gallery.rows([6], columns=["TEXT"]) == [{"caption": "c 1 2"}]
    assert gallery.rows([]) == []


def test_vectors_come_in_the_order_given_in_every_space(gallery: Gallery) -> None:
    stored = [np.concatenate([unit(3 * part + i, size) for part, size in enumerate(SIZES)]) for i in range(2)]
    for space, emb_ND in zip((None, FURTHER.name), stored, strict=True):
        found = gallery.vectors(np.array([6, 0]), space=space)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, emb_ND[[6, 0]].astype(np.float16).astype(np.float32))
    assert gallery.vectors([]).shape == (0, 8)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([7], "row 7 is not one of the gallery's rows, which are 0 to 6"),
        ([-1], "row -1 is not"),
        ([0, 2], "row 2 was deleted"),
    ],
)
def test_rows_that_do_not_exist_or_are_deleted_are_refused(gallery: Gallery, rows: list[int], message: str) -> None:
    delete(gallery.path, keys=["0-2"])
    assert [record["key"] for record in gallery.rows([2])] == ["0-2"]  # the version that was opened
    assert gallery.refresh()
    for read in (gallery.rows, gallery.vectors):
        with pytest.raises(RowError, match=message) as raised:
            read(rows)
        assert raised.value.was_deleted == ("deleted" in message)
        assert isinstance(raised.value, InputError)


def test_an_unknown_column_is_refused(gallery: Gallery) -> None:
    with pytest.raises(InputError, match=r"'numbr'.*the nearest: number"):
        gallery.rows([0], columns=["numbr"])


def test_texts_and_images_are_encoded_as_queries(gallery: Gallery, tmp_path: Path) -> None:
    np.testing.assert_array_equal(gallery.encode_texts(["猫", "four"]), np.eye(8, dtype=np.float32)[[1, 4]])
    white = Image.new("RGB", (4, 4), "white")
    white.save(tmp_path / "white.png")
    found = gallery.encode_images([tmp_path / "white.png", white, np.full((4, 4, 3), 255, np.uint8)])
    np.testing.assert_allclose(found, [[np.cos(1), np.sin(1), 0, 0, 0, 0, 0, 0]] * 3, atol=1e-6)
    assert gallery.encode_texts([]).shape == gallery.encode_images([]).shape == (0, 8)
    assert gallery.search(vector=gallery.encode_texts(["猫"])[0], k=3)[0].row == gallery.search("猫", k=3)[0].row


def test_the_nearest_rows_are_those_of_the_hits_without_metadata(gallery: Gallery) -> None:
    for options in ({"k": 5}, {"k": 3, "offset": 2, "where": "number > 1"}, {"k": 4, "diversity": 0.5, "window": 6}):
        hits = gallery.search("猫", **options)  # type: ignore[arg-type]
        nearest = gallery.nearest("猫", **options)  # type: ignore[arg-type]
        assert nearest.rows_K.tolist() == [hit.row for hit in hits]
        assert nearest.scores_K.tolist() == [hit.score for hit in hits]
        facts, same = ({name: each[name] for name in each if name != "ms"} for each in (nearest.explain, hits.explain))
        assert facts == same
    with pytest.raises(InputError, match="k is 0"):
        gallery.nearest("猫", k=0)
