"""Queries to vectors of a space. All texts of a batch are encoded in one call, and all images in another.

Shapes: Q queries, D dimension, B batch.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np

from ..datasets import InputError, arguments
from ..datasets.recent import Recent
from ..indexing.encoders import ImageEncoder, Runtime, TextEncoder, load_encoder
from ..indexing.encoders.preprocessing import stacked
from ..indexing.encoders.spec import EncoderSpec, says_nothing
from ..indexing.store.manifest import own_encoder
from ..indexing.store.vectors import Vectors
from .query import QueryPart

# Of recent texts with their vectors: thousands of texts. People change a filter, or go to the next page.
_KEPT_BYTES = 16 << 20


class EncoderLoader(Protocol):
    """Loads an encoder by its name, as `load_encoder` does. Another one may share encoders, or wrap them."""

    def __call__(
        self, name: str, *, device: str = "auto", runtime: Runtime = "auto", named_by: Path | None = None
    ) -> ImageEncoder:
        """See `load_encoder`."""
        ...


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A text with its vector."""

    text: str
    emb_D: np.ndarray

    @property
    def num_bytes(self) -> int:
        return self.emb_D.nbytes + sys.getsizeof(self.text)


class _How(TypedDict):
    """How encoders are loaded."""

    device: str
    runtime: Runtime


class Encoders:
    """The encoders of a gallery's spaces, each loaded when it is first needed. Threads may share it."""

    def __init__(
        self,
        root: Path,
        given: Mapping[str, str | ImageEncoder],
        device: str,
        runtime: Runtime = "auto",
        loader: EncoderLoader = load_encoder,
    ) -> None:
        """`given`: encoders, or other names to load them by, by the fingerprint of their space."""
        self._root = root
        self._given = given
        self._how: _How = {"device": device, "runtime": runtime}
        self._loader = loader
        self._loaded: dict[str, ImageEncoder] = {}
        self._texts: Recent[tuple[str, str], _Encoded] = Recent(_KEPT_BYTES, lambda encoded: encoded.num_bytes)
        self._loading = threading.Lock()

    def load(self, spec: EncoderSpec) -> ImageEncoder:
        """The encoder of a space.

        Raises:
            InputError: if it cannot be loaded, or is not the encoder that the space was made with.
        """
        fingerprint = spec.fingerprint
        with self._loading:
            if fingerprint not in self._loaded:
                given = self._given.get(fingerprint)
                if given is None:
                    encoder = self._loader(spec.name, **self._how, named_by=self._root)
                else:
                    encoder = self._loader(given, **self._how) if isinstance(given, str) else given
                self._loaded[fingerprint] = own_encoder(spec, encoder, self._root)
            return self._loaded[fingerprint]

    def loaded(self, spec: EncoderSpec) -> ImageEncoder | None:
        """The encoder of a space, if it is loaded."""
        return self._loaded.get(spec.fingerprint)

    def encode(self, queries: Sequence[Sequence[QueryPart]], spec: EncoderSpec, vectors: Vectors) -> np.ndarray:
        """The parts of each query to its vector: `emb_QD` float32 of unit length.

        Args:
            queries: the parts of each query.
            spec: the space's encoder.
            vectors: the space's vectors, for parts that are rows.

        Raises:
            InputError: if a part cannot be used with the space, or the parts cancel each other out.
        """
        parts = [part for query in queries for part in query]
        found: dict[int, np.ndarray] = {}
        for kind in {part.kind for part in parts}:
            these = [part for part in parts if part.kind == kind]
            if kind == "text":
                emb_BD = self.encode_texts(spec, [part.value for part in these])
            elif kind == "image":
                emb_BD = self.encode_images(spec, [part.value for part in these])
            elif kind == "row":
                emb_BD = _rows(vectors, these)
            else:
                emb_BD = np.stack([_checked(part.value, spec) for part in these])
            found.update(zip(map(id, these), emb_BD, strict=True))
        return np.stack([_sum(query, found) for query in queries])

    def encode_texts(self, spec: EncoderSpec, texts: Sequence[str]) -> np.ndarray:
        """Texts to vectors of a space: `emb_BD` float32 of unit length. Vectors of recent texts are kept.

        Raises:
            InputError: if the space's encoder has no text side or cannot be loaded, or a text says nothing to it.
        """
        encoder = self.load(spec)
        if not isinstance(encoder, TextEncoder):
            raise InputError(f"the encoder {spec.name} has no text side; search by image or vector")
        texts = arguments.texts("texts", texts)
        fingerprint = spec.fingerprint
        found = {text: self._texts.get((fingerprint, text)) for text in texts}
        missing = [text for text, kept in found.items() if kept is None]
        for text in missing:
            if says_nothing(encoder, text):
                raise InputError(
                    f"the text {text!r} has nothing that the encoder {spec.name} knows, so it would find the same "
                    "images as an empty query; say in words what to search for"
                )
        if missing:
            for text, emb_D in zip(missing, encoder.encode_texts(missing), strict=True):
                found[text] = encoded = _Encoded(text, emb_D.copy())
                self._texts.put((fingerprint, text), encoded)
        rows = [encoded.emb_D for text in texts if (encoded := found[text]) is not None]
        return np.stack(rows) if rows else np.zeros((0, spec.dim), np.float32)

    def encode_images(self, spec: EncoderSpec, images: Sequence[np.ndarray]) -> np.ndarray:
        """Images, each `rgb_HWC` uint8, to vectors of a space: `emb_BD` float32 of unit length.

        Raises:
            InputError: if the space's encoder cannot be loaded.
        """
        encoder = self.load(spec)
        if not images:
            return np.zeros((0, spec.dim), np.float32)
        return encoder.encode_images(stacked([encoder.preprocess(rgb_HWC) for rgb_HWC in images]))


def _rows(vectors: Vectors, parts: Sequence[QueryPart]) -> np.ndarray:
    emb_BD = vectors.rows(row_ids([part.value for part in parts], len(vectors)))
    if not emb_BD.any(axis=1).all():
        raise InputError("a row of the query has no vector; leave it out")
    return emb_BD


def row_ids(rows: object, num_rows: int, *, outside: type[InputError] = InputError) -> np.ndarray:
    """Row ids of a gallery: `N` int64. One that is not the gallery's is the error `outside`.

    Raises:
        InputError: if one is not a whole number, or not one of the gallery's.
    """
    try:
        rows_N = np.asarray(rows).reshape(-1)
    except ValueError:  # lists of several lengths
        rows_N = np.array([rows], object)
    if rows_N.size and rows_N.dtype.kind not in "iu":
        raise InputError(f"the rows {arguments.shown(rows)} are not row ids; give whole numbers, 0 to {num_rows - 1}")
    if (outside_N := (rows_N < 0) | (rows_N >= num_rows)).any():
        row = rows_N[outside_N][0]
        raise outside(f"row {row} is not one of the gallery's rows, which are 0 to {num_rows - 1}")
    return rows_N.astype(np.int64)


def _checked(emb_D: np.ndarray, spec: EncoderSpec) -> np.ndarray:
    if emb_D.shape != (spec.dim,):
        given = "×".join(map(str, emb_D.shape))
        raise InputError(
            f"the vector has shape {given or 'of a single number'}; the gallery's encoder {spec.name} gives vectors of "
            f"{spec.dim}"
        )
    return emb_D


def _sum(parts: Sequence[QueryPart], found: Mapping[int, np.ndarray]) -> np.ndarray:
    if len(parts) == 1:  # its weight, which is positive, changes no direction
        return _unit(found[id(parts[0])])
    total_D = sum((part.weight * _unit(found[id(part)]) for part in parts), np.float32(0))
    try:
        return _unit(np.asarray(total_D, np.float32))
    except InputError as error:
        raise InputError("the parts of the query cancel each other out; change their weights") from error


def _unit(emb_D: np.ndarray) -> np.ndarray:
    length = math.sqrt(emb_D @ emb_D)
    if not math.isfinite(length) or length < 1e-6:
        raise InputError("the vector is zero or not finite, so it has no direction; give another one")
    return emb_D / length
