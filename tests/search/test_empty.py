"""A query that only looks full is an error, because its vector would be that of an empty text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from planted import plant, unit

from diantu.datasets import InputError
from diantu.generation import GenerationRequest
from diantu.indexing.encoders import load_encoder
from diantu.indexing.encoders.spec import says_nothing
from diantu.indexing.encoders.torch_encoder import has_known
from diantu.search import Gallery, Query

BLANK = ["", " \t\n", "\u200b", "\u200d\ufeff", "\x1b\x07", "\u202e", "\u3000", "\u0301", "\ufe0f", "\U000e0041"]


@pytest.mark.parametrize("text", BLANK)
def test_a_text_without_anything_to_see_is_empty(tmp_path: Path, text: str) -> None:
    gallery = Gallery.open(plant(tmp_path / "g", unit(np.eye(2))))
    for query in (Query(text=text), Query(texts=["a dog", text]), Query(text="a dog", negatives=[text])):
        with pytest.raises(InputError, match="the text of the query is empty"):
            gallery.search(query)
    with pytest.raises(InputError, match=r"prompt|request"):
        GenerationRequest(prompt=text)


def test_conse_knows_no_emoji() -> None:
    encoder = load_encoder("conse", device="cpu")
    for text in ["🐼", "🐼🐼 🐼", "☀", "\ue000", *BLANK]:
        assert says_nothing(encoder, text)
    for text in ["大熊猫", "🐼 panda", "7", "é", "?!"]:
        assert not says_nothing(encoder, text)
    given = [text for text in ("🐼", "🚗") if says_nothing(encoder, text)]
    emb_BD = encoder.encode_texts(given)  # type: ignore[attr-defined]
    assert emb_BD[0] @ emb_BD[1] > 0.999  # why they are refused


def test_a_search_for_what_the_encoder_does_not_know_is_refused() -> None:
    class Letters:
        """Knows letters only."""

        def knows(self, text: str) -> bool:
            return any(map(str.isalpha, text))

    assert says_nothing(Letters(), "🐼")
    assert not says_nothing(Letters(), "a 🐼")
    assert not says_nothing(object(), "🐼")  # an encoder that does not say


@pytest.mark.parametrize(
    ("tokens", "known"),
    [([], False), (["[UNK]"], False), (["▁", "[UNK]"], False), (["[UNK]", "熊"], True), (["▁a"], True)],
)
def test_unknown_tokens_and_spaces_say_nothing(tokens: list[str], known: bool) -> None:
    assert has_known(tokens, "[UNK]") == known
