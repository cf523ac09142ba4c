"""What a search gives: hits in order, each with its score, its metadata and a way to its pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from PIL import Image

from ..datasets import Span, decode, read_span
from ..datasets.types import SampleError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One row of the gallery that answers a query.

    `score` is the inner product of unit vectors, higher is better. `zscore` is how many standard deviations it lies
    above the scores of random pairs in this gallery; None before `diantu index` has measured them. `folded` is how many
    near-duplicates the hit stands for, in a search that folds them.
    """

    row: int
    rank: int
    score: float
    zscore: float | None
    key: str
    caption: str | None
    metadata: Mapping[str, Any] = field(repr=False)
    folded: int = 0

    def image(self) -> Image.Image:
        """The picture, RGB, turned as its EXIF says: out of the tar, or from its file.

        Raises:
            FileNotFoundError: if the shard or file is no longer where it was embedded from, or holds something else.
        """
        span = self._span()
        try:
            return Image.fromarray(decode(read_span(span)))
        except (OSError, SampleError) as error:
            raise FileNotFoundError(
                f"the pixels of {self.key} cannot be read from {span.uri} ({error}); put it back to where it was "
                "embedded from"
            ) from error

    def _span(self) -> Span:
        shard, offset, length, path = (self.metadata[name] for name in ("shard", "offset", "length", "image_path"))
        if offset is not None:
            return Span(uri=shard, offset=offset, length=length)
        if shard is None:  # an imported row
            if not path or not Path(path).is_file():
                raise FileNotFoundError(
                    f"the row {self.key} was imported, and no picture of it is known on this machine"
                )
            return Span(uri=path)
        if shard.endswith(".parquet"):
            column, _, row = path.rpartition("/")
            return Span(uri=shard, column=column, row=int(row))
        if shard.endswith((".gz", ".tgz")):
            raise FileNotFoundError(
                f"{self.key} lies in the compressed {shard}, from which no single picture can be read"
            )
        return Span(uri=f"{shard}/{path}")

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
class Query:
    """What was asked, for people: a text, the name of a picture, or a vector's size. `image` is the picture shown."""

    kind: str
    label: str
    image: Image.Image | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits(Sequence[Hit]):
    """The hits of one query, best first. `folding` says that near-duplicates are folded."""

    query: Query
    hits: tuple[Hit, ...]
    took_ms: float
    folding: bool = False

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self.hits[index]

    def __len__(self) -> int:
        return len(self.hits)

    def to_json(self) -> dict[str, Any]:
        """Query, milliseconds and hits as JSON values."""
        return {
            "query": {self.query.kind: self.query.label},
            "took_ms": round(self.took_ms, 3),
            "hits": [hit.to_json() | ({"folded": hit.folded} if self.folding else {}) for hit in self.hits],
        }

    def sheet(self, path: str | Path) -> Path:
        """Writes a contact sheet: a page that stands alone for `.html`, a picture for `.png`.

        Raises:
            InputError: if the name ends otherwise.
        """
        from .sheet import write_sheet

        return write_sheet([self], Path(path))
