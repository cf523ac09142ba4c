"""From queries to hits: encode, filter, search, fold, rank, and read metadata.

Shapes: Q queries, K results, M rows of the window, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias

import numpy as np

from ..datasets import InputError
from ..indexing.index.effort import QueryKind, Strategy
from ..indexing.index.within import Within
from ..indexing.store.vectors import are_usable
from .encode import Encoders
from .explain import Explain, with_strategy
from .hits import Asked, Hit, Hits, Nearest
from .options import Options
from .pixels import LEADING
from .query import QueryPart
from .ranking import by_column, diverse, found, with_aesthetic
from .version import Version

# Columns that a hit needs for itself and for its image.
NEEDED = (*LEADING, "caption")
_Parts: TypeAlias = Sequence[QueryPart]
_Scored: TypeAlias = tuple[np.ndarray, np.ndarray]  # scores and rows


class Answer:
    """Answers queries that are asked together, over one version of a gallery and with the same options."""

    def __init__(
        self, version: Version, encoders: Encoders, options: Options, turn: AbstractContextManager[Any]
    ) -> None:
        """Checks what can be checked before the work, which is done in `turn`: what only a processor bounds.

        Raises:
            InputError: if the gallery lacks what an option needs.
        """
        self._version = version
        self._encoders = encoders
        self._turn = turn
        self._options = options
        self._space = version.space(options.space, options.over)
        self._space.index.efforts.recall(options.effort)  # raises for an unknown effort
        self._rerank = None if options.rerank is None else version.space(options.rerank)
        if options.fold_duplicates and version.duplicates is None:
            root = version.root
            raise InputError(
                f"the near-duplicates in {root} are not known; find them with: diantu dedup --gallery {root}"
            )
        self._columns = None if options.columns is None else self._spellings(options.columns)
        self._seconds: dict[str, float] = {}

    def hits(self, queries: Sequence[_Parts]) -> list[Hits]:
        """The hits of each query.

        Raises:
            InputError: if a query or the condition cannot be used.
        """
        self._load(queries)
        started = time.perf_counter()
        kinds, within, ranked, strategies = self._nearest(queries)
        with self._turn, self._timed("metadata"):
            records = self._version.metadata.rows(np.concatenate([rows for _, rows in ranked]), self._columns)
        took_ms = 1000 * (time.perf_counter() - started) / len(queries)
        explain = self._explain(within, len(queries))
        answers, start = [], 0
        for parts, kind, strategy, (scores, rows) in zip(queries, kinds, strategies, ranked, strict=True):
            own = records[start : start + len(rows)]
            start += len(rows)
            answers.append(
                Hits(
                    query=Asked.of(parts),
                    hits=self._as_hits(kind, scores, rows, own),
                    took_ms=took_ms,
                    folding=self._options.fold_duplicates,
                    explain=with_strategy(explain, strategy),
                )
            )
        return answers

    def nearest(self, parts: _Parts) -> Nearest:
        """The hits of a query without their metadata; raises as `hits` does."""
        self._load([parts])
        _, within, ((scores_K, rows_K),), (strategy,) = self._nearest([parts])
        explain = with_strategy(self._explain(within, 1), strategy)
        return Nearest(rows_K=rows_K, scores_K=scores_K, explain=explain)

    def _nearest(
        self, queries: Sequence[_Parts]
    ) -> tuple[list[QueryKind], Within | None, list[_Scored], list[Strategy]]:
        """The kind of each query, the filter, and of each query its scores and rows and how they were found."""
        with self._timed("encode"):
            sought = [self._sought(parts) for parts in queries]
            emb_QD = self._encoders.encode(sought, self._space.spec, self._space.index.vectors)
        with self._timed("filter"):
            within = self._within()
        with self._turn, self._timed("search"):
            kinds: list[QueryKind] = [_kind(parts) for parts in sought]
            first, strategies = self._searched(emb_QD, kinds, within, self._first_depth)
            ranked = [
                self._ranked(query, emb_D, kind, within, first[i])
                for i, (query, emb_D, kind) in enumerate(zip(queries, emb_QD, kinds, strict=True))
            ]
        return kinds, within, ranked, strategies

    @property
    def _first_depth(self) -> int:
        """The depth of the first search: the same for all pages, so that they are consistent."""
        return self._options.depth if self._options.arranges else self._options.k

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self._seconds[stage] = time.perf_counter() - started

    def _load(self, queries: Sequence[_Parts]) -> None:
        """Loads the encoders that are needed, which does not count as time of the search."""
        kinds = {part.kind for parts in queries for part in parts}
        if kinds & {"text", "image"}:
            self._encoders.load(self._space.spec)
        if self._rerank is not None and "image" in kinds:
            self._encoders.load(self._rerank.spec)

    def _sought(self, parts: _Parts) -> list[QueryPart]:
        """The parts that rows are searched by: the texts, where another space ranks by the images."""
        texts = [part for part in parts if part.kind == "text"]
        return texts if self._rerank is not None and any(part.weight > 0 for part in texts) else list(parts)

    def _within(self) -> Within | None:
        options = self._options
        if options.where is None:
            return None
        return self._space.filtered.within(
            self._version.filters.rows(options.where, options.missing, where_timeout=options.where_timeout)
        )

    def _searched(
        self, emb_QD: np.ndarray, kinds: Sequence[QueryKind], within: Within | None, depth: int
    ) -> tuple[list[_Scored], list[Strategy]]:
        """The nearest rows of each query, with one search for all queries of a kind; and the strategies."""
        effort, index = self._options.effort, self._space.index
        results: dict[int, tuple[_Scored, Strategy]] = {}
        for kind in dict.fromkeys(kinds):
            these = [i for i, other in enumerate(kinds) if other == kind]
            asked_QD = emb_QD if len(these) == len(kinds) else emb_QD[these]
            if within is None:
                scores_QK, rows_QK = index.search(asked_QD, depth, effort=effort, kind=kind)
                used: Sequence[Strategy] = [index.strategy(effort, kind, depth)] * len(these)
            else:
                answer = within.search(asked_QD, depth, effort=effort, kind=kind)
                scores_QK, rows_QK, used = answer.scores_QK, answer.rows_QK, answer.strategies
            for i, scores_K, rows_K, strategy in zip(these, scores_QK, rows_QK, used, strict=True):
                results[i] = (scores_K, rows_K), strategy
        ordered = [results[i] for i in range(len(kinds))]
        return [scored for scored, _ in ordered], [strategy for _, strategy in ordered]

    def _ranked(
        self, parts: _Parts, emb_D: np.ndarray, kind: QueryKind, within: Within | None, first: _Scored
    ) -> _Scored:
        """The scores and rows of one query's hits."""
        options, duplicates = self._options, self._version.duplicates

        def search(depth: int) -> _Scored:
            return first if depth == self._first_depth else self._searched(emb_D[None], [kind], within, depth)[0][0]

        scores_K, rows_K = found(
            search,
            self._first_depth,
            options,
            representatives=duplicates.representatives if options.fold_duplicates and duplicates else None,
            zscores=self._zscores(kind),
            is_usable=self._have_vectors,
        )
        if options.arranges and len(rows_K):
            scores_K, rows_K = self._arranged(parts, scores_K, rows_K)
        page = slice(options.offset, options.offset + options.k)
        return scores_K[page], rows_K[page]

    def _have_vectors(self, scores_K: np.ndarray, rows_K: np.ndarray) -> np.ndarray:
        """Which rows have a vector: older imports kept rows whose vector is zero or not finite. `K` bool.

        In their place, or where nothing is left, a search may return −1. Their scores say which to look at.
        """
        is_row_K = rows_K >= 0
        unsure_K = is_row_K & ((scores_K == 0) | ~np.isfinite(scores_K))
        if unsure_K.any():
            is_row_K[unsure_K] = are_usable(self._space.index.vectors.rows(rows_K[unsure_K]))
        return is_row_K

    def _arranged(self, parts: _Parts, scores_M: np.ndarray, rows_M: np.ndarray) -> _Scored:
        """The rows of the window in the order that the options ask for."""
        options = self._options
        if self._rerank is not None:
            scores_M = self._reranked(parts, rows_M)
        ranks_M = scores_M
        if options.aesthetic:
            values = self._version.values("aesthetic", rows_M)
            ranks_M = with_aesthetic(scores_M, values, options.aesthetic)
        if options.sort_by:
            column = options.sort_by.removeprefix("-")
            values = self._version.values(column, rows_M)
            order = by_column(values, descending=options.sort_by.startswith("-"))
        else:
            order = np.argsort(-ranks_M, kind="stable")
        if options.diversity:
            emb_MD = self._space.index.vectors.rows(rows_M[order])
            order = order[diverse(ranks_M[order], emb_MD, options.diversity, options.offset + options.k)]
        return scores_M[order], rows_M[order]

    def _reranked(self, parts: _Parts, rows_M: np.ndarray) -> np.ndarray:
        """The similarity of rows to the query's images, rows and vectors in the other space: `M` float32."""
        assert self._rerank is not None
        looks = [part for part in parts if part.kind != "text"]
        if not any(part.weight > 0 for part in looks):
            raise InputError("rerank compares images; add an image, a row or a vector to the query")
        vectors = self._rerank.index.vectors
        (emb_D,) = self._encoders.encode([looks], self._rerank.spec, vectors)
        return vectors.rows(rows_M) @ emb_D

    def _zscores(self, kind: QueryKind) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
        """A function from scores and rows to zscores; None where zscores are not known."""
        calibration = self._version.calibration(self._space, kind)
        if calibration is not None:
            vectors = self._space.index.vectors
            return lambda scores_K, rows_K: calibration.zscores(scores_K, vectors.rows(rows_K))
        if self._options.min_zscore is not None:
            further = "captions" if self._options.over == "captions" else "further spaces"
            why = f"{kind} queries" if self._space is self._version.main else further
            raise InputError(f"zscores of {why} are not known here (diantu index measures them); use min_score")
        return None

    def _as_hits(
        self, kind: QueryKind, scores_K: np.ndarray, rows_K: np.ndarray, records: Sequence[Mapping[str, Any]]
    ) -> tuple[Hit, ...]:
        options, duplicates = self._options, self._version.duplicates
        zscores = None if self._rerank is not None else self._zscores(kind)
        zscores_K = zscores(scores_K, rows_K).tolist() if zscores and len(rows_K) else [None] * len(rows_K)
        folding = options.fold_duplicates and duplicates is not None
        folded_K = duplicates.num_others(rows_K) if folding and duplicates else np.zeros_like(rows_K)
        columns = zip(rows_K.tolist(), scores_K.tolist(), zscores_K, folded_K.tolist(), records, strict=True)
        return tuple(
            Hit(
                row=row, rank=rank, score=score, zscore=zscore, key=record["key"], caption=record["caption"],
                metadata=record, folded=folded,
            )
            for rank, (row, score, zscore, folded, record) in enumerate(columns, start=options.offset + 1)
        )  # fmt: skip

    def _explain(self, within: Within | None, num_queries: int) -> Explain:
        """What is the same for all queries."""
        options = self._options
        ms = {stage: round(1000 * seconds / num_queries, 3) for stage, seconds in self._seconds.items()}
        explain = Explain(space=self._space.spec.name, effort=options.effort, strategy="exact", ms=ms)
        if options.over == "captions":
            explain["over"] = options.over
        if within is not None and options.where is not None:
            explain["where"], explain["missing"] = options.where, options.missing
            explain["rows"], explain["share"] = within.num_rows, round(within.share, 6)
        return explain

    def _spellings(self, columns: Sequence[str]) -> list[str]:
        return [*NEEDED, *(name for column in columns for name in self._version.columns.spellings(column))]


def _kind(parts: _Parts) -> QueryKind:
    """The kind of a mixed query: it decides the breadth of the search, and what zscores are relative to."""
    kinds = {part.kind for part in parts if part.weight > 0}
    if "text" in kinds:
        return "text"
    return "image" if kinds & {"image", "row"} else "vector"
