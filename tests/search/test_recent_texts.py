"""Vectors of recent query texts are kept: the same results, and the encoder is not asked again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from galleries import DIM, FURTHER, SPEC, keyed, unit, write_gallery

from diantu.datasets import InputError
from diantu.search import Gallery, encode


class Recording:
    """A text encoder that remembers what it was asked; each text has its own vector."""

    def __init__(self, spec: object = SPEC) -> None:
        self.spec = spec
        self.asked: list[str] = []

    def knows(self, text: str) -> bool:
        return "?" not in text

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        self.asked += texts
        return np.concatenate([unit(sum(map(ord, text)), 1) for text in texts])


@pytest.fixture
def encoder() -> Recording:
    return Recording()


@pytest.fixture
def gallery(encoder: Recording, tmp_path: Path) -> Gallery:
    return Gallery.open(write_gallery(tmp_path / "g", keyed(30, 20)), encoder=encoder)  # type: ignore[arg-type]


def test_a_text_is_encoded_once(gallery: Gallery, encoder: Recording) -> None:
    first = gallery.search("windmill", k=5)
    again = gallery.search("windmill", k=5)
    assert [(hit.row, hit.score) for hit in again] == [(hit.row, hit.score) for hit in first]
    assert [hit.row for hit in gallery.search("windmill", k=5, offset=5)] != [hit.row for hit in first]
    assert encoder.asked == ["windmill"]
    fresh = Recording().encode_texts(["dam", "windmill", "dam", "Windmill"])
    np.testing.assert_array_equal(gallery.encode_texts(["dam", "windmill", "dam", "Windmill"]), fresh)
    assert encoder.asked == ["windmill", "dam", "Windmill"]  # the exact text counts
    gallery.refresh()
    gallery.search_many(["dam", "windmill"])
    assert len(encoder.asked) == 3


def test_what_is_kept_cannot_be_changed_from_outside(gallery: Gallery) -> None:
    found = gallery.encode_texts(["windmill"])
    before = found.copy()
    found[:] = 0
    np.testing.assert_array_equal(gallery.encode_texts(["windmill"]), before)


def test_spaces_have_their_own(tmp_path: Path) -> None:
    encoders = {SPEC.name: Recording(SPEC), FURTHER.name: Recording(FURTHER)}
    gallery = Gallery.open(
        write_gallery(tmp_path / "g", keyed(30)), loader=lambda name, **_: encoders[name]  # type: ignore[arg-type]
    )  # fmt: skip
    for _ in range(2):
        gallery.search("windmill")
        gallery.search("windmill", space="further")
    assert [encoder.asked for encoder in encoders.values()] == [["windmill"], ["windmill"]]


def test_a_text_that_says_nothing_is_refused_each_time(gallery: Gallery, encoder: Recording) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="has nothing that the encoder hf:x knows"):
            gallery.search("???")
    assert encoder.asked == []


def test_memory_is_bounded(gallery: Gallery, encoder: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_KEPT_BYTES", 10 * 4 * DIM)
    small = Gallery.open(gallery.path, encoder=encoder)  # type: ignore[arg-type]
    for text in ("a", "b", "c" * 1000, "a"):
        small.search(text)
    assert encoder.asked == ["a", "b", "c" * 1000, "a"]
    small.search("a")
    assert len(encoder.asked) == 4
