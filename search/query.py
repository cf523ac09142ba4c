"""What is searched for: texts, pictures, vectors and rows of the gallery, wanted or not, in any mix.

Every part is scaled to length 1, multiplied by its weight and added; the sum is scaled to length 1. Parts that are not
wanted are subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from ..datasets import InputError, SampleError, decode

ImageQuery: TypeAlias = "str | Path | bytes | Image.Image | np.ndarray"

# What a part that is not wanted weighs unless told: texts and pictures of one kind have much in common, and subtracting
# one as a whole would take that away, too.
NEGATIVE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Query:
    """A search's question. At least one of the wanted parts is given; any part may be `(part, weight)`.

    >>> from diantu.search import Gallery
    >>> query = Query(texts=["castle", ("by the sea", 0.5)], negatives=["windmill"])
    >>> Gallery.open("diantu-demo/gallery").search(query, k=1)[0].metadata["category"]
    'landmark'

    Attributes:
        text: in any language that the encoder knows; `texts` for several.
        texts: as `text`.
        image: a path, encoded bytes, a PIL picture, or `rgb_HWC` uint8; `images` for several.
        images: as `image`.
        vector: of the space's encoder, `emb_D`; `vectors` for several.
        vectors: as `vector`.
        rows: row ids of the gallery, say of hits that were liked.
        negatives: what is not wanted: texts, or pictures in any form but a path as text (give a `Path`). They weigh 0.5
            unless told.
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
        for name in ("texts", "images", "rows", "negatives"):
            if isinstance(getattr(self, name), (str, bytes, Path)):
                raise InputError(f"{name} takes a list; give {name}=[…]")

    def parts(self) -> list[Part]:
        """All parts, wanted ones first.

        Raises:
            InputError: if there is none that is wanted, or one cannot be used.
        """
        wanted = list(self._wanted())
        if not wanted:
            raise InputError("the query is empty; give a text, an image, a vector or rows to look for")
        return [*wanted, *map(_negative, self.negatives)]

    def _wanted(self) -> Iterator[Part]:
        for kind, one, several in (
            ("text", self.text, self.texts),
            ("image", self.image, self.images),
            ("vector", self.vector, self.vectors),
            ("row", None, self.rows),
        ):
            for given in [*([] if one is None else [one]), *several]:
                value, weight = given if isinstance(given, tuple) else (given, 1.0)
                yield _part(kind, value, weight)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One part: `kind` is text, image, vector or row; `value` a text, `rgb_HWC` uint8, a vector or a row id."""

    kind: str
    value: Any
    weight: float
    label: str


def _part(kind: str, value: Any, weight: float) -> Part:
    if not np.isfinite(weight) or weight <= 0:
        raise InputError(
            f"a part of the query has the weight {weight}; give one above 0, and unwanted parts as negatives"
        )
    if kind == "text":
        if not isinstance(value, str) or not value.strip():
            raise InputError("the text of the query is empty; say what to look for")
        return Part(kind=kind, value=value, weight=float(weight), label=value)
    if kind == "image":
        rgb_HWC, label = pixels_of(value)
        return Part(kind=kind, value=rgb_HWC, weight=float(weight), label=label)
    if kind == "row":
        return Part(kind=kind, value=int(value), weight=float(weight), label=f"row {int(value)}")
    return Part(kind=kind, value=value, weight=float(weight), label=f"{np.size(value)} dimensions")


def _negative(given: Any) -> Part:
    value, weight = given if isinstance(given, tuple) else (given, NEGATIVE_WEIGHT)
    part = _part("text" if isinstance(value, str) else "image", value, weight)
    return Part(kind=part.kind, value=part.value, weight=-part.weight, label=part.label)


def pixels_of(image: ImageQuery) -> tuple[np.ndarray, str]:
    """A picture in any of its forms → `rgb_HWC` uint8 and a label for it."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(
                f"the picture is an array of {image.dtype} {image.shape}; give uint8 of height × width × 3"
            )
        return image, "array"
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB")), "picture"
    try:
        if isinstance(image, bytes):
            return decode(image), "bytes"
        return decode(Path(image).read_bytes()), Path(image).name
    except (OSError, SampleError) as error:
        name = "the given bytes" if isinstance(image, bytes) else f"the picture {image}"
        raise InputError(f"{name} cannot be read: {error}") from error
    except TypeError as error:
        raise InputError(
            f"a {type(image).__name__} is no picture; give a path, bytes, a PIL picture or an array"
        ) from error
