"""A gallery, opened for search.

Shapes: N rows, B batch, D dimension; H, W, C of an image.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..datasets import InputError, RowError, arguments
from ..datasets.conditions import WHERE_SECONDS, Missing
from ..indexing.encoders import ImageEncoder, Runtime, TextEncoder, load_encoder
from ..indexing.encoders.spec import EncoderSpec
from ..indexing.index.effort import Effort
from ..indexing.index.opened import faiss_threads
from ..indexing.store.duplicates import Duplicates
from ..indexing.store.facets import SECONDS as FACET_SECONDS
from ..indexing.store.facets import Facets, find_facets, sql_type
from ..indexing.store.snapshot import OVER, Over, Snapshot
from .answer import Answer
from .encode import EncoderLoader, Encoders, row_ids
from .hits import Hits, Nearest
from .options import Options, SearchOptions
from .query import ImageQuery, Query, many_queries, one_query, pixels_of
from .version import Version

if TYPE_CHECKING:
    from typing_extensions import Unpack

Question: TypeAlias = "str | Query"


class Gallery:
    """An open gallery. Open it once and search it often, from any number of threads.

    It keeps reading the version that it opened, until `refresh`.

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
        runtime: Runtime = "auto",
        threads: int | None = None,
        loader: EncoderLoader = load_encoder,
    ) -> None:
        """Opens a gallery; see `Gallery.open`."""
        self.path = Path(path)
        self._version = Version(self.path)
        given = {} if encoder is None else {self._version.snapshot.spec.fingerprint: encoder}
        self._encoders = Encoders(self.path, given, device, runtime, loader)
        self._threads = threads
        # More threads at a time than the machine can run would only take Python's lock from each other.
        self._turn = nullcontext() if threads is None else BoundedSemaphore(max(1, (os.cpu_count() or 1) // threads))

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: str | ImageEncoder | None = None,
        device: str = "auto",
        runtime: Runtime = "auto",
        threads: int | None = None,
        loader: EncoderLoader = load_encoder,
    ) -> Gallery:
        """Opens a gallery. Its encoder is loaded when the first text or image is searched for.

        Everything else is read when it is needed. The first search reads the codes of an index that FAISS cannot map:
        about 150 bytes per row.

        Args:
            path: the gallery's folder.
            encoder: the encoder for queries: an object that is already loaded, or another name to load it by, where
                its weights are not found under the name in the gallery (for example, in another folder).
            device: where a loaded encoder runs; `auto` is the first GPU, else the CPU.
            runtime: what computes the vectors of images, see `load_encoder`.
            threads: threads of FAISS for one search; by default one per CPU core. A server that answers many requests
                at a time should give 1: then as many searches run at a time as there are cores, and others wait.
            loader: loads encoders by their names; give another one to share encoders between galleries, or to wrap
                them.

        Raises:
            InputError: if there is no gallery.
        """
        return cls(path, encoder=encoder, device=device, runtime=runtime, threads=threads, loader=loader)

    def __len__(self) -> int:
        return self._version.snapshot.num_alive

    @property
    def spec(self) -> EncoderSpec:
        """The encoder that the gallery was made with."""
        return self._version.snapshot.spec

    @property
    def snapshot(self) -> Snapshot:
        """The folder, the manifest and the deleted rows that it reads."""
        return self._version.snapshot

    @property
    def spaces(self) -> list[str]:
        """The names of all encoders whose vectors the rows have, the main one first."""
        return [spec.name for spec in self._version.snapshot.manifest.encoders]

    @property
    def over(self) -> list[Over]:
        """What a search can compare a query with: images, and captions where the gallery has vectors of them."""
        return [*OVER] if self._version.snapshot.manifest.texts else ["images"]

    def has_texts(self, space: str | None = None) -> bool:
        """Whether texts can be searched for in a space. Its encoder knows; before it is loaded, this is a guess.

        Args:
            space: the encoder, by its name or a part of it; by default the main one.

        Raises:
            InputError: if there is no such space.
        """
        spec = self._version.space(space).spec
        encoder = self._encoders.loaded(spec)
        return spec is self.spec or spec.text_context > 0 if encoder is None else isinstance(encoder, TextEncoder)

    @property
    def columns(self) -> list[str]:
        """The columns of the metadata, and other names for them that a condition can use."""
        return self._version.columns.names

    @property
    def column_types(self) -> dict[str, str]:
        """The columns of the metadata without other names for them, each with its type as SQL calls it."""
        return {name: sql_type(kind) for name, kind in self._version.columns.types.items()}

    @property
    def has_zscores(self) -> bool:
        """Whether hits have zscores: `diantu index` has measured what texts or images score at random."""
        version = self._version
        return any(version.calibration(version.main, kind) is not None for kind in ("text", "image"))

    @property
    def duplicates(self) -> Duplicates | None:
        """The gallery's near-duplicates; None where `diantu dedup` has not run."""
        return self._version.duplicates

    @property
    def num_unexamined(self) -> int:
        """Rows that `diantu dedup` has not examined because they were added later."""
        version = self._version
        examined = version.duplicates.num_rows if version.duplicates is not None else 0
        return max(version.snapshot.num_rows - examined, 0)

    @property
    def encoder(self) -> ImageEncoder:
        """The encoder for queries, loaded now if it is not loaded yet.

        Raises:
            InputError: if it cannot be loaded or is not the one that the gallery was made with.
        """
        return self._encoders.load(self.spec)

    def refresh(self) -> bool:
        """Opens the gallery's present version: added or deleted rows, a new index. Returns whether it has changed.

        Searches that are running finish on the version that they started with.

        Raises:
            InputError: if the gallery is damaged now, or was created again with another encoder; then the old version
                stays open.
        """
        if self._version.snapshot.is_current:
            return False
        version = Version(self.path)
        if version.snapshot.spec.fingerprint != self.spec.fingerprint:
            raise InputError(
                f"{self.path} is another gallery now, made with {version.snapshot.spec.name}; open it again"
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
        where_timeout: float = WHERE_SECONDS,
        effort: Effort = "balanced",
        space: str | None = None,
        over: Over = "images",
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
        """The k rows of the gallery that are most similar to a text, an image, a vector or a mix of them.

        Args:
            query: a text, in any language that the encoder knows, or a `Query` of several parts.
            image: a path, encoded bytes, a PIL image, or `rgb_HWC` uint8; with a text, the two are mixed.
            vector: of the space's encoder, `emb_D`; it is scaled to length 1.
            k: number of hits; fewer if fewer rows qualify.
            offset: number of hits to skip: pages of the same k never repeat or skip a row.
            where: a SQL condition over the metadata, such as `width >= 512 AND punsafe < 0.1`; see `columns`.
            missing: whether to `exclude` or `include` rows for which the condition is neither true nor false because a
                value is missing.
            where_timeout: seconds that the condition may take for each million rows.
            effort: `fast`, `balanced`, `exact` (every row is compared), or the recall to reach, up to 1: the index was
                tuned for several; see `diantu index`.
            space: search the vectors of another encoder that the gallery has, by its name or a part of it, such as
                `dinov2`.
            over: compare the query with the `images`, or with their `captions` where the gallery has vectors of them
                (`diantu embed --texts captions`); a row without one is never found.
            rerank: search by the query's texts (by the whole query if it has none), then sort the nearest rows by their
                similarity to its images, rows and vectors in this other space.
            diversity: 0 to 1: prefer rows that differ from the rows before them (maximal marginal relevance).
            fold_duplicates: of each group of near-duplicates return only the best row; `Hit.folded` is the number of
                other rows in the group.
            min_score: leave out rows below this score.
            min_zscore: leave out rows below this zscore.
            sort_by: a column to sort the nearest rows by; descending with a minus before it: `-width`.
            aesthetic: add this factor times a tenth of each row's aesthetic score to its score.
            window: number of nearest rows that `rerank`, `diversity`, `sort_by` and `aesthetic` choose from; by default
                100, or ten times k.
            columns: the metadata columns that the hits have; by default all.

        Raises:
            InputError: if the query, the condition or an option cannot be used with this gallery.
        """
        options = Options(
            k=k, offset=offset, where=where, missing=missing, where_timeout=where_timeout, effort=effort, space=space,
            over=over, rerank=rerank, diversity=diversity, fold_duplicates=fold_duplicates, min_score=min_score,
            min_zscore=min_zscore, sort_by=sort_by, aesthetic=aesthetic, window=window, columns=columns,
        )  # fmt: skip
        return self._answered([one_query(query, image, vector)], options)[0]

    def search_many(self, queries: Sequence[Question], **options: Unpack[SearchOptions]) -> list[Hits]:
        """Answers several queries at once: they are encoded and searched together. The options are those of `search`.

        Raises:
            InputError: as `search`.
        """
        asked = many_queries(queries)
        return self._answered(asked, Options(**options)) if asked else []

    def nearest(self, query: Question, **options: Unpack[SearchOptions]) -> Nearest:
        """The rows and scores that `search` would find, without metadata: for thousands of results.

        Args:
            query: a text, or a `Query`.
            options: those of `search`.

        Raises:
            InputError: as `search`.
        """
        asked = query if isinstance(query, Query) else Query(text=query)
        with self._searching():
            return Answer(self._version, self._encoders, Options(**options), self._turn).nearest(asked.parts())

    def facets(self, *, seconds: float = FACET_SECONDS) -> Facets:
        """What the columns of the metadata hold: ranges, values with counts, licences. All metadata is read.

        Args:
            seconds: when this time is over, the facets describe the rows that were read by then.

        Raises:
            InputError: if metadata is damaged.
        """
        return find_facets(self._version.columns, self._version.snapshot.deleted, seconds=seconds)

    def rows(self, rows: Sequence[int] | np.ndarray, *, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """The metadata of some rows, in the order given.

        Args:
            rows: row ids.
            columns: the columns to read, by their own names or by other names that `columns` lists; by default all. A
                row whose part has no such column lacks it.

        Raises:
            RowError: if a row is not one of the gallery's or is deleted.
            InputError: if there is no such column.
        """
        version = self._version
        if columns is not None:
            columns = [
                name for column in arguments.texts("columns", columns) for name in version.columns.spellings(column)
            ]
        rows_N = self._checked(rows)
        with self._turn:
            return version.metadata.rows(rows_N, columns)

    def vectors(
        self, rows: Sequence[int] | np.ndarray, *, space: str | None = None, over: Over = "images"
    ) -> np.ndarray:
        """The vectors of some rows, in the order given: `emb_ND` float32 of unit length; zeros for a row without one.

        Args:
            rows: row ids.
            space: the encoder, by its name or a part of it; by default the main one.
            over: whether of the images or of their captions.

        Raises:
            RowError: if a row is not one of the gallery's or is deleted.
            InputError: if there are no such vectors.
        """
        return self._version.space(space, over).index.vectors.rows(self._checked(rows))

    def encode_texts(self, texts: Sequence[str], *, space: str | None = None) -> np.ndarray:
        """Encodes texts as queries of this gallery: `emb_BD` float32 of unit length.

        Raises:
            InputError: if the encoder of the space cannot be loaded or has no text side.
        """
        return self._encoders.encode_texts(self._version.space(space).spec, texts)

    def encode_images(self, images: Sequence[ImageQuery], *, space: str | None = None) -> np.ndarray:
        """Encodes images (paths, bytes, PIL images or `rgb_HWC` uint8): `emb_BD` float32 of unit length.

        Raises:
            InputError: if an image cannot be read, or the encoder of the space cannot be loaded.
        """
        return self._encoders.encode_images(
            self._version.space(space).spec, [pixels_of(image)[0] for image in arguments.items("images", images)]
        )

    def check_rows(self, rows: Sequence[int] | np.ndarray) -> None:
        """Checks row ids without reading anything.

        Raises:
            RowError: if a row is not one of the gallery's or is deleted.
        """
        self._checked(rows)

    def _checked(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Row ids that exist and are not deleted: `N` int64."""
        snapshot = self._version.snapshot
        rows_N = row_ids(rows, snapshot.num_rows, outside=RowError)
        before_N, up_to_N = (np.searchsorted(snapshot.deleted, rows_N, side) for side in ("left", "right"))
        if (is_deleted_N := before_N < up_to_N).any():
            row = rows_N[is_deleted_N].min()
            raise RowError(f"row {row} was deleted from the gallery; name another one", was_deleted=True)
        return rows_N

    def _answered(self, queries: Sequence[Query], options: Options) -> list[Hits]:
        answer = Answer(self._version, self._encoders, options, self._turn)
        with self._searching():
            return answer.hits([query.parts() for query in queries])

    def _searching(self) -> AbstractContextManager[None]:
        return nullcontext() if self._threads is None else faiss_threads(self._threads)
