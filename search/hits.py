"""The result of a search: hits in order, each with its score, its metadata and its original image."""

from __future__ import annotations

import builtins
import csv
import importlib.util
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, overload

import numpy as np
import pyarrow as pa
from PIL import Image

from ..datasets import InputError, decode, display
from ..datasets.errors import PixelsError, SampleError
from ..datasets.files import writing
from ..datasets.names import free_name
from ..datasets.values import jsonable
from ..indexing.store.tables import metadata_table
from .explain import Explain
from .pixels import SHARDS, ImageSource, read_pixels
from .query import QueryPart
from .sheets.section import SheetSection, Tile

if TYPE_CHECKING:
    import pandas as pd

OWN_FIELDS = ("rank", "row", "score", "zscore", "folded")  # what is known about a hit beside its metadata
_THUMBNAILS = ("JPEG", "WEBP", "PNG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One row of the gallery that answers a query.

    Attributes:
        row: its row id.
        rank: its position among the hits, from 1.
        score: the inner product of unit vectors; higher is better.
        zscore: by how many standard deviations the score exceeds the scores of this image with random queries; None for
            query vectors, and where `diantu index` has not measured that.
        key: its key.
        caption: its caption.
        metadata: its metadata, by column.
        folded: the number of near-duplicates that the hit represents, in a search that folds them.
        source: where its image is read from.
    """

    row: int
    rank: int
    score: float
    zscore: float | None
    key: str
    caption: str | None
    metadata: Mapping[str, Any] = field(repr=False)
    folded: int = 0
    source: ImageSource = field(default=SHARDS, repr=False, compare=False)

    def bytes(self, *, from_url: bool = False, private_hosts: bool = False) -> bytes:
        """The bytes of the original image: from the tar or parquet file by offset, its own file, or a service.

        Args:
            from_url: whether an image that is no longer on this machine may be downloaded from the URL in its metadata:
                at most 32 MB, in at most 10 seconds.
            private_hosts: whether that URL may lead to this machine or to a private network.

        Raises:
            PixelsError: if it is no longer where it was embedded from, and cannot be downloaded either.
        """
        return self._read(None, from_url, private_hosts)

    def image(self, *, from_url: bool = False, private_hosts: bool = False) -> Image.Image:
        """The image as RGB, rotated as its EXIF orientation says; see `bytes`.

        Raises:
            PixelsError: if it is no longer where it was embedded from, or the bytes there are not an image.
        """
        return self._decoded(self._read(None, from_url, private_hosts))

    def thumbnail(self, size: int, *, from_url: bool = False, private_hosts: bool = False) -> Image.Image:
        """The image, at most `size` pixels wide and high; see `image`.

        Raises:
            InputError: if the size is less than one pixel.
        """
        if size < 1:
            raise InputError(f"the size of a thumbnail is {size}; give at least 1 pixel")
        image = self._decoded(self._read(size, from_url, private_hosts))
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        return image

    def thumbnail_bytes(
        self,
        size: int = 256,
        *,
        image_format: str = "JPEG",
        quality: int = 85,
        from_url: bool = False,
        private_hosts: bool = False,
    ) -> builtins.bytes:
        """The thumbnail as the bytes of a file, for example for a web page; see `thumbnail`.

        Args:
            size: pixels, the most in width and height.
            image_format: `JPEG`, `WEBP` or `PNG`.
            quality: 1 to 100, for JPEG and WEBP.
            from_url: see `bytes`.
            private_hosts: see `bytes`.

        Raises:
            InputError: if the format is another one.
            PixelsError: see `image`.
        """
        if image_format.upper() not in _THUMBNAILS:
            raise InputError(f"a thumbnail cannot be {image_format!r}; give one of: {', '.join(_THUMBNAILS)}")
        buffer = io.BytesIO()
        thumbnail = self.thumbnail(size, from_url=from_url, private_hosts=private_hosts)
        thumbnail.save(buffer, image_format.upper(), quality=quality)
        return buffer.getvalue()

    def _read(self, size: int | None, from_url: bool, private_hosts: bool) -> builtins.bytes:
        return read_pixels(self.metadata, source=self.source, size=size, from_url=from_url, private_hosts=private_hosts)

    def _decoded(self, data: builtins.bytes) -> Image.Image:
        try:
            return Image.fromarray(decode(data))
        except SampleError as error:
            raise PixelsError(f"the bytes of {self.key} are not an image any more ({error})") from error

    def tile(self) -> Tile:
        """Returns the hit as one image of a sheet."""
        return Tile(
            thumbnail=self.thumbnail, rank=self.rank, score=self.score, zscore=self.zscore,
            caption=self.caption or self.key, key=self.key, folded=self.folded, url=str(self.metadata.get("url") or ""),
            details="\n".join(f"{name}: {value}" for name, value in self.metadata.items() if value is not None),
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The hit as JSON values, without empty metadata fields; other types as in `datasets.values.jsonable`."""
        return {
            "rank": self.rank,
            "row": self.row,
            "key": self.key,
            "score": round(self.score, 6),
            "zscore": None if self.zscore is None else round(self.zscore, 3),
            "caption": self.caption,
            "metadata": metadata_json(self.metadata),
        }


def write_csv(table: pa.Table, file: TextIO) -> None:
    """Writes a table of metadata as CSV for spreadsheets; see `Hits.to_csv`."""
    writer = csv.writer(file)
    writer.writerow(map(display.cell, table.column_names))
    for row in table.to_pylist():
        writer.writerow(
            display.cell(display.to_json(jsonable(value)) if isinstance(value, (list, dict)) else value)
            for value in row.values()
        )


def metadata_json(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a row as JSON values, without its key, its caption and empty fields."""
    fields = ((name, value) for name, value in metadata.items() if name not in ("key", "caption") and value is not None)
    return {name: jsonable(value) for name, value in named_beside(OWN_FIELDS, fields).items()}


def named_beside(own: Iterable[str], metadata: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Metadata under names that others do not have: a gallery may have a column called `score` or `file`."""
    taken = {*own}
    return {free_name(name, taken): value for name, value in metadata}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A readable form of a query.

    Attributes:
        kind: text, image, vector, row or mixed.
        label: the query in one line.
        image: the image to show, if the query has one.
        parts: its parts.
    """

    kind: Literal["text", "image", "vector", "row", "mixed"]
    label: str
    image: Image.Image | None = field(default=None, repr=False)
    parts: tuple[QueryPart, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, parts: Sequence[QueryPart]) -> Asked:
        """Describes the parts of a query."""
        rgb_HWC = next((part.value for part in parts if part.kind == "image"), None)
        labels = [f" {'+' if part.weight > 0 else '−'} {part.label}" for part in parts]
        return cls(
            kind=parts[0].kind if len(parts) == 1 else "mixed",
            label="".join(labels).removeprefix(" + "),
            image=None if rgb_HWC is None else Image.fromarray(rgb_HWC),
            parts=tuple(parts),
        )

    def to_json(self) -> dict[str, Any]:
        """One part as `{kind: label}`; several parts as a list with their weights."""
        if len(self.parts) <= 1:
            return {self.kind: self.label}
        return {"parts": [{part.kind: part.label, "weight": part.weight} for part in self.parts]}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Nearest:
    """The hits of one query without their metadata.

    Attributes:
        rows_K: row ids, int64, best first.
        scores_K: float32.
        explain: how the rows were found; see `Explain`.
    """

    rows_K: np.ndarray
    scores_K: np.ndarray
    explain: Explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits(Sequence[Hit]):
    """The hits of one query, best first.

    >>> from diantu.search import Gallery
    >>> hits = Gallery.open("diantu-demo/gallery").search("hammer", k=3)
    >>> len(hits), hits[0].rank, hits[0].image().mode
    (3, 1, 'RGB')
    >>> hits.to_pandas()["category"].tolist()
    ['tool', 'tool', 'tool']

    Attributes:
        query: what was asked.
        hits: the hits.
        took_ms: milliseconds of the search.
        folding: whether near-duplicates are folded.
        explain: how the rows were found: strategy, filter, and milliseconds of each stage; see `Explain`.
    """

    query: Asked
    hits: tuple[Hit, ...]
    took_ms: float
    folding: bool = False
    explain: Explain

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def to_json(self) -> dict[str, Any]:
        """Query, milliseconds, explanation and hits, as JSON values."""
        return {
            "query": self.query.to_json(),
            "took_ms": round(self.took_ms, 3),
            "explain": dict(self.explain),
            "hits": [hit.to_json() | ({"folded": hit.folded} if self.folding else {}) for hit in self.hits],
        }

    def to_dicts(self) -> list[dict[str, Any]]:
        """The hits as dictionaries: the columns of `to_arrow`, with Python's own values."""
        return self.to_arrow().to_pylist()

    def to_arrow(self) -> pa.Table:
        """The hits as a table: `rank`, `row`, `score`, `zscore`, `folded`, then all columns of their metadata.

        A column of the metadata that has one of these names is `table_<name>` here.
        """
        columns: dict[str, pa.Array | pa.ChunkedArray] = {
            "rank": pa.array([hit.rank for hit in self.hits], pa.int64()),
            "row": pa.array([hit.row for hit in self.hits], pa.int64()),
            "score": pa.array([hit.score for hit in self.hits], pa.float32()),
            "zscore": pa.array([hit.zscore for hit in self.hits], pa.float32()),
            "folded": pa.array([hit.folded for hit in self.hits], pa.int64()),
        }
        records = [named_beside(OWN_FIELDS, hit.metadata.items()) for hit in self.hits]
        present = {name.lower() for record in records for name in record}
        metadata = metadata_table(records)
        for name, column in zip(metadata.column_names, metadata.columns, strict=True):
            if name.lower() in present:
                columns[name] = column
        return pa.table(columns)

    def to_pandas(self) -> pd.DataFrame:
        """The same as a pandas table.

        Raises:
            InputError: if pandas is not installed.
        """
        if importlib.util.find_spec("pandas") is None:
            raise InputError("to_pandas needs pandas, which is not installed; run: pip install pandas")
        return self.to_arrow().to_pandas()

    def to_csv(self, path: str | Path) -> Path:
        """Writes the same as CSV in UTF-8, for spreadsheets.

        A text that a spreadsheet would take for a formula (`=…`) gets an apostrophe in front. Lists become JSON.

        Returns:
            The path.

        Raises:
            FileError: if the file cannot be written.
        """
        table, path = self.to_arrow(), Path(path)
        # Excel reads UTF-8 only with the mark.
        with writing(path), path.open("w", encoding="utf-8-sig", newline="") as file:
            write_csv(table, file)
        return path

    def sheet(self, path: str | Path) -> Path:
        """Writes a contact sheet: a self-contained page for `.html`, an image for `.png`.

        Raises:
            InputError: if the name has another ending.
        """
        from .sheets.sheet import write_sheet

        return write_sheet([self.section()], Path(path))

    def section(self) -> SheetSection:
        """Returns the hits as a section of a sheet."""
        where = f", where {condition}" if (condition := self.explain.get("where")) else ""
        return SheetSection(
            heading=self.query.label,
            note=f"{self.query.kind} query{where}, {len(self)} hits, {self.took_ms:.1f} ms",
            image=self.query.image,
            tiles=[hit.tile() for hit in self.hits],
        )

    def _repr_html_(self) -> str:
        """The hits as HTML, for notebooks."""
        from .sheets.sheet import fragment

        return fragment(self.section())
