"""A reference: an image that pictures are made from, with its source and credits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ...datasets import PixelsError, SampleError
from ...datasets.decoding import decode_guarded, read_file
from ...datasets.files import sha256
from ...datasets.names import CREDITS
from ...search.pixels import read_pixels

# The fields of a row that locate its pixels; see `search.pixels`.
_PLACE = ("key", "shard", "offset", "length", "image_path")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image that pictures are made from: a row of a gallery, or a file.

    Attributes:
        key: of the row, or the name of the file.
        row: in the gallery; None for a file.
        score: similarity to the query; None if nothing was searched.
        zscore: the score in standard deviations; None if it is not known.
        licence: from the metadata.
        author: from the metadata.
        source: the page or URL of the image.
        place: where the pixels are: fields of the metadata of the row, or the `path` of a file.
        sha256: of the encoded image; empty before it is read.
        size: width and height in pixels; (0, 0) before it is read.
    """

    key: str
    row: int | None = None
    score: float | None = None
    zscore: float | None = None
    licence: str | None = None
    author: str | None = None
    source: str | None = None
    place: Mapping[str, Any] = field(default_factory=dict, repr=False)
    sha256: str = ""
    size: tuple[int, int] = (0, 0)

    @property
    def identity(self) -> tuple[int | None, str | None]:
        """A key that is equal for references to the same image of the same gallery."""
        return self.row, self.place.get("path")

    def image(self) -> Image.Image:
        """Reads the pixels, RGB, rotated by EXIF.

        Raises:
            PixelsError: if the image is missing, or has changed since it was first read.
        """
        data, image = self._decoded()
        if self.sha256 not in ("", sha256(data)):
            raise PixelsError(f"the image {self.key} has changed since the run was planned")
        return image

    def measured(self) -> Reference:
        """Reads the image and returns the reference with its `sha256` and `size`; raises as `image`."""
        data, image = self._decoded()
        return replace(self, sha256=sha256(data), size=image.size)

    def credits(self) -> dict[str, Any]:
        """Returns what the manifest says about the reference, as JSON values, without paths of this machine."""
        told = {
            "row": self.row, "key": self.key, "score": _rounded(self.score, 6), "zscore": _rounded(self.zscore, 3),
            "licence": self.licence, "author": self.author, "source": self.source, "sha256": self.sha256,
        }  # fmt: skip
        return {name: value for name, value in told.items() if value is not None}

    def _decoded(self) -> tuple[bytes, Image.Image]:
        data = self._data()
        try:
            return data, Image.fromarray(decode_guarded(data).rgb_HWC)
        except SampleError as error:
            raise PixelsError(f"the bytes of {self.key} cannot be read as an image ({error})") from error

    def _data(self) -> bytes:
        path = self.place.get("path")
        if path is None:
            return read_pixels(self.place)
        try:
            return read_file(path)
        except (OSError, SampleError) as error:
            reason = getattr(error, "strerror", None) or error
            raise PixelsError(f"{path} cannot be read ({reason})") from error


def of_file(path: str) -> Reference:
    """Returns a file as a reference."""
    return Reference(key=Path(path).name, place={"path": path})


def of_row(
    row: int, metadata: Mapping[str, Any], *, score: float | None = None, zscore: float | None = None
) -> Reference:
    """Returns a row of a gallery as a reference, from its metadata: credits and the place of the pixels."""
    by_name = {name.lower(): value for name, value in metadata.items() if value not in (None, "")}

    def credit(kind: str) -> str | None:
        return next((str(by_name[name]) for name in CREDITS[kind] if name in by_name), None)

    return Reference(
        key=metadata["key"], row=row, score=score, zscore=zscore, place={name: metadata[name] for name in _PLACE},
        licence=credit("licence"), author=credit("author"), source=credit("source"),
    )  # fmt: skip


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
