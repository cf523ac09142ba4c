"""What a search gives: hits in order, each with its score, its metadata and a way to its pixels."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pyarrow as pa
from PIL import Image

from ..datasets import InputError, decode
from ..datasets.errors import SampleError
from ..indexing.store.tables import metadata_table
from .pixels import read_pixels
from .query import Part

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One row of the gallery that answers a query.

    `score` is the inner product of unit vectors, higher is better. `zscore` is how many standard deviations it lies
    above what this picture scores with random queries; None for vectors, and before `diantu index` has measured that.
    `folded` is how many near-duplicates the hit stands for, in a search that folds them.
    """

    row: int
    rank: int
    score: float
    zscore: float | None
    key: str
    caption: str | None
    metadata: Mapping[str, Any] = field(repr=False)
    folded: int = 0

    def bytes(self, *, from_url: bool = False, private_hosts: bool = False) -> bytes:
        """The picture's bytes as they were embedded: out of the tar or parquet file, or from its file.

        Args:
            from_url: whether a picture that is not on this machine any more may be downloaded from the URL in its
                metadata: at most 32 MB, in at most 10 seconds.
            private_hosts: whether that URL may lead to this machine or into a private network.

        Raises:
            FileNotFoundError: if it is no longer where it was embedded from, and not to be had from a URL either.
        """
        return read_pixels(self.metadata, from_url=from_url, private_hosts=private_hosts)

    def image(self, *, from_url: bool = False, private_hosts: bool = False) -> Image.Image:
        """The picture, RGB, turned as its EXIF says; see `bytes`.

        Raises:
            FileNotFoundError: if it is no longer where it was embedded from, or that holds something else.
        """
        data = self.bytes(from_url=from_url, private_hosts=private_hosts)
        try:
            return Image.fromarray(decode(data))
        except SampleError as error:
            raise FileNotFoundError(f"the bytes of {self.key} are no picture any more ({error})") from error

    def thumbnail(self, size: int, *, from_url: bool = False, private_hosts: bool = False) -> Image.Image:
        """The picture, at most `size` pixels wide and high; see `image`."""
        image = self.image(from_url=from_url, private_hosts=private_hosts)
        image.thumbnail((size, size), Image.Resampling.LANCZOS)
        return image

    def to_json(self) -> dict[str, Any]:
        """The hit as JSON values; metadata fields that are empty are left out."""
        named = {"rank", "row", "key", "score", "zscore", "caption"}
        further = {name: value for name, value in self.metadata.items() if name not in named and value is not None}
        return {
            "rank": self.rank,
            "row": self.row,
            "key": self.key,
            "score": round(self.score, 6),
            "zscore": None if self.zscore is None else round(self.zscore, 3),
            "caption": self.caption,
            "metadata": further,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked, for people: `kind` is text, image, vector, row or mixed; `image` is the picture to show."""

    kind: str
    label: str
    image: Image.Image | None = field(default=None, repr=False)
    parts: tuple[Part, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Asked:
        """Names the parts of a query."""
        picture = next((part.value for part in parts if part.kind == "image"), None)
        labels = [f" {'+' if part.weight > 0 else '−'} {part.label}" for part in parts]
        return cls(
            kind=parts[0].kind if len(parts) == 1 else "mixed",
            label="".join(labels).removeprefix(" + "),
            image=None if picture is None else Image.fromarray(picture),
            parts=tuple(parts),
        )

    def to_json(self) -> dict[str, Any]:
        """One part as `{kind: label}`; several as a list of them with their weights."""
        if len(self.parts) <= 1:
            return {self.kind: self.label}
        return {"parts": [{part.kind: part.label, "weight": part.weight} for part in self.parts]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits(Sequence[Hit]):
    """The hits of one query, best first.

    >>> from diantu.search import Gallery
    >>> hits = Gallery.open("diantu-demo/gallery").search("hammer", k=3)
    >>> len(hits), hits[0].rank, hits[0].image().mode
    (3, 1, 'RGB')
    >>> hits.to_pandas()["category"].tolist()
    ['tool', 'tool', 'tool']

    `folding` says that near-duplicates are folded. `explain` says how the rows were found: the strategy, the filter and
    its share of the rows, and milliseconds by stage.
    """

    query: Asked
    hits: tuple[Hit, ...]
    took_ms: float
    folding: bool = False
    explain: Mapping[str, Any] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def to_json(self) -> dict[str, Any]:
        """Query, milliseconds, how it was answered, and hits, as JSON values."""
        return {
            "query": self.query.to_json(),
            "took_ms": round(self.took_ms, 3),
            "explain": dict(self.explain),
            "hits": [hit.to_json() | ({"folded": hit.folded} if self.folding else {}) for hit in self.hits],
        }

    def to_arrow(self) -> pa.Table:
        """The hits as a table: `rank`, `row`, `score`, `zscore`, `folded`, then every column of their metadata."""
        own = pa.table(
            {
                "rank": pa.array([hit.rank for hit in self.hits], pa.int64()),
                "row": pa.array([hit.row for hit in self.hits], pa.int64()),
                "score": pa.array([hit.score for hit in self.hits], pa.float32()),
                "zscore": pa.array([hit.zscore for hit in self.hits], pa.float32()),
                "folded": pa.array([hit.folded for hit in self.hits], pa.int64()),
            }
        )
        metadata = metadata_table([hit.metadata for hit in self.hits])
        for name in metadata.column_names:
            if name not in own.column_names and any(name in hit.metadata for hit in self.hits):
                own = own.append_column(name, metadata[name])
        return own

    def to_pandas(self) -> pd.DataFrame:
        """The same as a pandas table.

        Raises:
            InputError: if pandas is not installed.
        """
        if importlib.util.find_spec("pandas") is None:
            raise InputError("to_pandas needs pandas, which is not installed; run: pip install pandas")
        return self.to_arrow().to_pandas()

    def sheet(self, path: str | Path) -> Path:
        """Writes a contact sheet: a page that stands alone for `.html`, a picture for `.png`.

        Raises:
            InputError: if the name ends otherwise.
        """
        from .sheets.sheet import write_sheet

        return write_sheet([self], Path(path))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from .sheets.sheet import fragment

        return fragment(self)
