"""A gallery, opened for search.

Shapes: Q queries, K results, D dimension; H, W, C of a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..datasets import InputError
from ..indexing.encoders import ImageEncoder
from ..indexing.encoders.spec import EncoderSpec
from ..indexing.index.effort import Effort
from ..indexing.index.opened import faiss_threads
from ..indexing.store.duplicates import Duplicates
from ..indexing.store.filters import Missing
from .answer import Answer
from .encode import Encoders
from .hits import Hits
from .options import Options
from .query import ImageQuery, Query
from .version import Version

Question: TypeAlias = "str | Query"


class Gallery:
    """Answers queries. Open it once and search it often, from any number of threads.

    It keeps the version that it was opened on, until `refresh`.

    >>> gallery = Gallery.open("diantu-demo/gallery")
    >>> [hit.key for hit in gallery.search("大熊猫", k=2, where="category = 'animal' AND aspect > 1.3")]
    ['animal_panda', 'animal_polar_bear']
    >>> [hits[0].key for hits in gallery.search_many(["koala", "考拉"], k=1)]
    ['animal_koala', 'animal_koala']

    Attributes:
        path: the gallery's folder.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        encoder: str | ImageEncoder | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> None:
        """Opens a gallery; see `Gallery.open`."""
        self.path = Path(path)
        self._version = Version(self.path)
        given = {} if encoder is None else {self._version.manifest.spec.fingerprint: encoder}
        self._encoders = Encoders(self.path, given, device)
        self._threads = threads

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: str | ImageEncoder | None = None,
        device: str = "auto",
        threads: int | None = None,
    ) -> Gallery:
        """Opens a gallery; its encoder is loaded when the first text or picture is asked for.

        Everything else is read when it is needed. The first search reads the codes of an index that FAISS cannot map:
        some 150 bytes a row.

        Args:
            path: the gallery's folder.
            encoder: the encoder for queries, where it is not found under the name that the gallery has noted (say, its
                weights lie in another folder here), or one that is already loaded.
            device: where a loaded encoder runs; `auto` is the first GPU, else the CPU.
            threads: how many threads FAISS takes for one search, by default all processors. Who serves many requests
                at a time gives 1.

        Raises:
            InputError: if there is no gallery.
        """
        return cls(path, encoder=encoder, device=device, threads=threads)

    def __len__(self) -> int:
        return self._version.index.num_rows

    @property
    def spec(self) -> EncoderSpec:
        """The encoder that the gallery was made with."""
        return self._version.manifest.spec

    @property
    def spaces(self) -> list[str]:
        """The names of all encoders that the rows have vectors of, the main one first."""
        return [spec.name for spec in self._version.manifest.encoders]

    @property
    def columns(self) -> list[str]:
        """The columns of the metadata, and other names for them that a condition may use."""
        return self._version.columns.names

    @property
    def duplicates(self) -> Duplicates | None:
        """The gallery's near-duplicates; None where `diantu dedup` has not looked for them."""
        return self._version.duplicates

    @property
    def num_unexamined(self) -> int:
        """Rows that `diantu dedup` has not seen, since they were added later."""
        version = self._version
        examined = version.duplicates.num_rows if version.duplicates is not None else 0
        return max(len(version.index.vectors) - examined, 0)

    @property
    def encoder(self) -> ImageEncoder:
        """The encoder for queries, loaded now if it was not.

        Raises:
            InputError: if it cannot be loaded or is not the one that the gallery was made with.
        """
        return self._encoders.load(self.spec)

    def refresh(self) -> bool:
        """Goes on with what the gallery has now: rows that were added or deleted, a new index. Says whether it changed.

        Searches that are running end on the version that they began with.

        Raises:
            InputError: if the gallery is damaged now, or was made anew with another encoder; the version from before
                stays.
        """
        if self._version.is_current:
            return False
        version = Version(self.path)
        if version.manifest.spec.fingerprint != self.spec.fingerprint:
            raise InputError(
                f"{self.path} is another gallery now, made with {version.manifest.spec.name}; open it anew"
            )
        self._version = version
        return True

    def search(
        self,
        query: Question | None = None,
        *,
        image: ImageQuery | None = None,
        vector: np.ndarray | None = None,
        k: int = 12,
        offset: int = 0,
        where: str | None = None,
        missing: Missing = "exclude",
        effort: Effort = "balanced",
        space: str | None = None,
        rerank: str | None = None,
        diversity: float = 0.0,
        fold_duplicates: bool = False,
        min_score: float | None = None,
        min_zscore: float | None = None,
        sort_by: str | None = None,
        aesthetic: float = 0.0,
        window: int | None = None,
        columns: Sequence[str] | None = None,
    ) -> Hits:
        """The k rows of the gallery that are most like a text, a picture, a vector or a mix of them.

        Args:
            query: a text, in any language that the encoder knows, or a `Query` of several parts.
            image: a path, encoded bytes, a PIL picture, or `rgb_HWC` uint8; beside a text, the two are mixed.
            vector: of the space's encoder, `emb_D`; it is scaled to length 1.
            k: how many hits; a gallery where fewer rows qualify gives these.
            offset: how many of the first hits to leave out: pages of the same k never repeat or skip a row.
            where: a SQL condition over the metadata, as `width >= 512 AND punsafe < 0.1`; see `columns`.
            missing: rows for which the condition is neither true nor false, since a value is missing, are `exclude`d or
                `include`d.
            effort: `fast`, `balanced`, `exact` (every row is compared), or the share of the exact results that is to
                be found, up to 1: the index was tuned for several; see `diantu index`.
            space: search the vectors of another encoder that the gallery has, by its name or a piece of it, as
                `dinov2`.
            rerank: search by the query's texts (by all of it where there are none), then put the nearest rows into the
                order of their likeness to its pictures, rows and vectors in this other space.
            diversity: 0 to 1: prefer rows that are unlike those before them (maximal marginal relevance).
            fold_duplicates: of each group of near-duplicates give only the row that answers best; `Hit.folded` says
                how many others the group has.
            min_score: leave out rows below this score.
            min_zscore: leave out rows below this zscore.
            sort_by: a column; the nearest rows in its order, from the greatest down with a minus before it: `-width`.
            aesthetic: add this times a tenth of each row's aesthetic score to its score; the query stays as it is.
            window: how many of the nearest rows `rerank`, `diversity`, `sort_by` and `aesthetic` choose from; by
                default 100, or ten times k.
            columns: of the metadata, those that the hits are to have; by default all.

        Raises:
            InputError: if the query, the condition or an option cannot be used with this gallery.
        """
        options = Options(
            k=k, offset=offset, where=where, missing=missing, effort=effort, space=space, rerank=rerank,
            diversity=diversity, fold_duplicates=fold_duplicates, min_score=min_score, min_zscore=min_zscore,
            sort_by=sort_by, aesthetic=aesthetic, window=window, columns=columns,
        )  # fmt: skip
        if isinstance(query, Query):
            if image is not None or vector is not None:
                raise InputError("a Query has its own images and vectors; put them there")
        else:
            query = Query(text=query, image=image, vector=vector)
        return self._answered([query], options)[0]

    def search_many(self, queries: Sequence[Question], **options: Any) -> list[Hits]:
        """Answers several queries at once: they are encoded and searched together. `options` are those of `search`.

        Raises:
            InputError: as `search`.
        """
        if isinstance(queries, (str, Query)):
            raise InputError("search_many takes a list of queries; give search_many([…]), or use search")
        asked = [query if isinstance(query, Query) else Query(text=query) for query in queries]
        return self._answered(asked, Options(**options)) if asked else []

    def _answered(self, queries: Sequence[Query], options: Options) -> list[Hits]:
        answer = Answer(self._version, self._encoders, options)
        with nullcontext() if self._threads is None else faiss_threads(self._threads):
            return answer.hits([query.parts() for query in queries])
