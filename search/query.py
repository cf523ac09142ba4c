"""Queries: any mix of texts, images, vectors and rows of the gallery, and of negative terms.

The vector of every part is scaled to length 1 and multiplied by its weight; the parts are added, negative ones
subtracted, and the sum is scaled to length 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from ..datasets import InputError, SampleError, arguments, display
from ..datasets.decoding import ImageInput
from ..datasets.decoding import pixels_of as decoded_pixels
from ..datasets.errors import first_line
from ..datasets.text import valid_text

Kind: TypeAlias = Literal["text", "image", "vector", "row"]
ImageQuery: TypeAlias = ImageInput

# The default weight of a negative part. It is below 1, because two texts (or two images) have much in common, which
# subtracting the whole vector would remove, too.
NEGATIVE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """What to search for. At least one positive part must be given; any part may be a pair `(part, weight)`.

    >>> from diantu.search import Gallery
    >>> query = Query(texts=["castle", ("by the sea", 0.5)], negatives=["windmill"])
    >>> Gallery.open("diantu-demo/gallery").search(query, k=1)[0].metadata["category"]
    'landmark'

    Attributes:
        text: a text in any language that the encoder knows.
        texts: several texts.
        image: a path, encoded bytes, a PIL image, or an array of height × width × channels (none, 1 to 4) of uint8,
            bool, uint16 or float from 0 to 1. The same image gives the same query in every form.
        images: several images.
        vector: a vector of the space's encoder, `emb_D`.
        vectors: several vectors.
        rows: row ids of the gallery, for example of hits that the user liked.
        negatives: what to search away from: texts, or images in any form except a path as `str` (give a `Path`). Their
            weight is 0.5 unless given.
    """

    text: str | tuple[str, float] | None = None
    image: ImageQuery | tuple[ImageQuery, float] | None = None
    vector: np.ndarray | tuple[np.ndarray, float] | None = None
    texts: Sequence[str | tuple[str, float]] = ()
    images: Sequence[ImageQuery | tuple[ImageQuery, float]] = ()
    vectors: Sequence[np.ndarray | tuple[np.ndarray, float]] = ()
    rows: Sequence[int | tuple[int, float]] = ()
    negatives: Sequence[Any] = ()

    def __post_init__(self) -> None:
        for name in ("texts", "images", "vectors", "rows", "negatives"):
            arguments.items(name, getattr(self, name))

    def parts(self) -> list[QueryPart]:
        """All parts, positive ones first; negative ones have negative weights.

        Raises:
            InputError: if there is no positive part, or a part cannot be used.
        """
        positive = list(self._positive())
        if not positive:
            raise InputError("the query is empty; give a text, an image, a vector or rows to search for")
        return [*positive, *map(_negative, self.negatives)]

    def _positive(self) -> Iterator[QueryPart]:
        given_parts: tuple[tuple[Kind, Any, Sequence[Any]], ...] = (
            ("text", self.text, self.texts),
            ("image", self.image, self.images),
            ("vector", self.vector, self.vectors),
            ("row", None, self.rows),
        )
        for kind, one, several in given_parts:
            for given in [*([] if one is None else [one]), *several]:
                yield _part(kind, *_weighted(given, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QueryPart:
    """One part of a query.

    Attributes:
        kind: what `value` is.
        value: a text, `rgb_HWC` uint8, a vector as float32, or a row id.
        weight: negative for negative parts.
        label: a short text for people.
        given: an image as it was given.
    """

    kind: Kind
    value: Any
    weight: float
    label: str
    given: Any = None


def one_query(query: str | Query | None, image: ImageQuery | None = None, vector: np.ndarray | None = None) -> Query:
    """What `Gallery.search` is given, as a query.

    Raises:
        InputError: if a `Query` has company.
    """
    if not isinstance(query, Query):
        return Query(text=query, image=image, vector=vector)
    if image is not None or vector is not None:
        raise InputError("a Query has its own images and vectors; put them there")
    return query


def many_queries(queries: Sequence[str | Query]) -> list[Query]:
    """What `Gallery.search_many` is given, as queries.

    Raises:
        InputError: if they are no list of queries.
    """
    return [one_query(query) for query in arguments.items("queries", queries)]


def _weighted(given: Any, weight: float) -> tuple[Any, float]:
    """A part and its weight."""
    if not isinstance(given, tuple):
        return given, weight
    if len(given) != 2:
        raise InputError(
            f"a part of the query is a tuple of {len(given)} values; give (part, weight), and a vector as an array"
        )
    return given


def _part(kind: Kind, value: Any, weight: float) -> QueryPart:
    weight = arguments.number("the weight of a part of the query", weight)
    if not 0 < weight < np.inf:
        raise InputError(
            f"a part of the query has the weight {weight:g}; give one above 0, and give what to search away from as "
            "negatives"
        )
    if kind == "text":
        if display.is_blank(arguments.text("a text of the query", value)):
            raise InputError("the text of the query is empty; say what to search for")
        text = valid_text(value)
        return QueryPart(kind=kind, value=text, weight=weight, label=text)
    if kind == "image":
        rgb_HWC, label = pixels_of(value)
        return QueryPart(kind=kind, value=rgb_HWC, weight=weight, label=label, given=value)
    if kind == "row":
        row = arguments.whole_number("a row of the query", value)
        return QueryPart(kind=kind, value=row, weight=weight, label=f"row {row}")
    emb_D = _numbers(value)
    return QueryPart(kind=kind, value=emb_D, weight=weight, label=f"{emb_D.size} dimensions")


def _numbers(vector: Any) -> np.ndarray:
    """A vector as float32; its shape is checked where the encoder is known."""
    try:
        given = np.asarray(vector)
        if given.dtype.kind not in "biufO":
            raise TypeError(f"it holds values of the type {given.dtype}")
        with np.errstate(over="ignore"):  # what is not finite is refused later
            return given.astype(np.float32)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last one is raised by torch
        raise InputError(
            f"the vector {arguments.shown(vector)} is not an array of numbers: {first_line(error)}"
        ) from error


def _negative(given: Any) -> QueryPart:
    value, weight = _weighted(given, NEGATIVE_WEIGHT)
    part = _part("text" if isinstance(value, str) else "image", value, weight)
    return replace(part, weight=-part.weight)


def pixels_of(image: ImageQuery) -> tuple[np.ndarray, str]:
    """An image in any form to `rgb_HWC` uint8 and a label.

    Raises:
        InputError: if it cannot be read or used.
    """
    if isinstance(image, (str, Path)):
        name, label = f"the image {image}", Path(image).name
    else:
        is_encoded = isinstance(image, (bytes, bytearray, memoryview))
        label = "bytes" if is_encoded else "array" if isinstance(image, np.ndarray) else "picture"
        name = "the given bytes" if is_encoded else "the given image"
    try:
        return decoded_pixels(image), label
    except (OSError, SampleError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} cannot be read: {error}") from error
