"""The way from queries to hits: encode, filter, search, thin out, arrange, and read metadata.

Shapes: Q queries, K results, M rows of the window, D dimension.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..datasets import InputError
from ..indexing.index.within import Within
from .encode import Encoders
from .hits import Asked, Hit, Hits
from .options import Options
from .query import QueryPart
from .ranking import by_column, diverse, found, with_aesthetic
from .version import Version

# Columns that a hit needs for itself and its pixels.
_NEEDED = ("key", "caption", "shard", "offset", "length", "image_path", "url")
_Parts = Sequence[QueryPart]


class Answer:
    """Answers queries that are asked together, over one version of a gallery and with the same options."""

    def __init__(self, version: Version, encoders: Encoders, options: Options) -> None:
        """Checks what can be checked before the work.

        Raises:
            InputError: if the gallery lacks what an option needs.
        """
        self._version = version
        self._encoders = encoders
        self._options = options
        self._spec = version.space(options.space)
        self._index = version.index_of(self._spec)
        self._index.recall(options.effort)  # raises for one that is not known
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
        with _timed(self._seconds, "encode"):
            sought = [self._sought(parts) for parts in queries]
            emb_QD = self._encoders.encode(sought, self._spec, self._index.vectors)
        with _timed(self._seconds, "filter"):
            among = self._among()
        with _timed(self._seconds, "search"):
            kinds = [_kind(parts) for parts in sought]
            first, strategies = self._searched(emb_QD, kinds, among, self._first_depth)
            ranked = [
                self._ranked(query, emb_D, kind, among, first[i])
                for i, (query, emb_D, kind) in enumerate(zip(queries, emb_QD, kinds, strict=True))
            ]
        with _timed(self._seconds, "metadata"):
            records = self._version.metadata.rows(np.concatenate([rows for _, rows in ranked]), self._columns)
        took_ms = 1000 * (time.perf_counter() - started)
        answers, start = [], 0
        for parts, kind, strategy, (scores, rows) in zip(queries, kinds, strategies, ranked, strict=True):
            own = records[start : start + len(rows)]
            start += len(rows)
            answers.append(
                Hits(
                    query=Asked.of(parts),
                    hits=self._as_hits(kind, scores, rows, own),
                    took_ms=took_ms / len(queries),
                    folding=self._options.fold_duplicates,
                    explain=self._explain(strategy, among, len(queries)),
                )
            )
        return answers

    @property
    def _first_depth(self) -> int:
        """How deep the first search goes: the same for all pages, so that they fit together."""
        return self._options.depth if self._options.arranges else self._options.k

    def _load(self, queries: Sequence[_Parts]) -> None:
        """Loads the encoders that are needed: that is not what a search takes."""
        kinds = {part.kind for parts in queries for part in parts}
        if kinds & {"text", "image"}:
            self._encoders.load(self._spec)
        if self._rerank is not None and "image" in kinds:
            self._encoders.load(self._rerank)

    def _sought(self, parts: _Parts) -> list[QueryPart]:
        """The parts that the rows are found by: where another space ranks by the pictures, the texts."""
        texts = [part for part in parts if part.kind == "text"]
        return texts if self._rerank is not None and any(part.weight > 0 for part in texts) else list(parts)

    def _among(self) -> Within | None:
        options = self._options
        if options.where is None:
            return None
        return self._index.within(self._version.filters.rows(options.where, options.missing))

    def _searched(
        self, emb_QD: np.ndarray, kinds: Sequence[str], among: Within | None, depth: int
    ) -> tuple[list[tuple[np.ndarray, np.ndarray]], list[str]]:
        """The nearest rows of each query, those of a kind together; and the strategies."""
        effort = self._options.effort
        results: list[Any] = [None] * len(kinds)
        strategies = [""] * len(kinds)
        for kind in dict.fromkeys(kinds):
            these = [i for i, other in enumerate(kinds) if other == kind]
            if among is None:
                scores_QK, rows_QK = self._index.search(emb_QD[these], depth, effort=effort, kind=kind)
                used = [self._index.strategy(effort, kind, depth)] * len(these)
            else:
                answer = among.search(emb_QD[these], depth, effort=effort, kind=kind)
                scores_QK, rows_QK, used = answer.scores_QK, answer.rows_QK, answer.strategies
            for i, scores_K, rows_K, strategy in zip(these, scores_QK, rows_QK, used, strict=True):
                results[i], strategies[i] = (scores_K, rows_K), strategy
        return results, strategies

    def _ranked(
        self,
        parts: _Parts,
        emb_D: np.ndarray,
        kind: str,
        among: Within | None,
        first: tuple[np.ndarray, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scores and rows of one query's hits."""
        options, duplicates = self._options, self._version.duplicates

        def search(depth: int) -> tuple[np.ndarray, np.ndarray]:
            return first if depth == self._first_depth else self._searched(emb_D[None], [kind], among, depth)[0][0]

        scores_K, rows_K = found(
            search,
            self._first_depth,
            options,
            representatives=duplicates.representatives if options.fold_duplicates and duplicates else None,
            zscores=self._zscores(kind),
        )
        if options.arranges and len(rows_K):
            scores_K, rows_K = self._arranged(parts, scores_K, rows_K)
        page = slice(options.offset, options.offset + options.k)
        return scores_K[page], rows_K[page]

    def _arranged(self, parts: _Parts, scores_M: np.ndarray, rows_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
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
            emb_MD = self._index.vectors.rows(rows_M[order])
            order = order[diverse(ranks_M[order], emb_MD, options.diversity, options.offset + options.k)]
        return scores_M[order], rows_M[order]

    def _reranked(self, parts: _Parts, rows_M: np.ndarray) -> np.ndarray:
        """The rows' likeness to the query's pictures, rows and vectors in the other space: `M` float32."""
        assert self._rerank is not None
        looks = [part for part in parts if part.kind != "text"]
        if not any(part.weight > 0 for part in looks):
            raise InputError("rerank compares pictures; add an image, a row or a vector to the query")
        vectors = self._version.index_of(self._rerank).vectors
        (emb_D,) = self._encoders.encode([looks], self._rerank, vectors)
        return vectors.rows(rows_M) @ emb_D

    def _zscores(self, kind: str) -> Any:
        """Scores and rows → zscores; None where they cannot be given."""
        is_main = self._spec is self._version.manifest.spec
        if is_main and self._version.calibration.knows(kind):
            return partial(self._zscores_of, kind)
        if self._options.min_zscore is not None:
            why = f"{kind} queries" if is_main else "further spaces"
            raise InputError(f"zscores of {why} are not known here (diantu index measures them); use min_score")
        return None

    def _zscores_of(self, kind: str, scores_K: np.ndarray, rows_K: np.ndarray) -> np.ndarray:
        return self._version.calibration.zscores(kind, scores_K, self._index.vectors.rows(rows_K))

    def _as_hits(
        self, kind: str, scores_K: np.ndarray, rows_K: np.ndarray, records: Sequence[Mapping[str, Any]]
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

    def _explain(self, strategy: str, among: Within | None, num_queries: int) -> dict[str, Any]:
        options = self._options
        filtered = {}
        if among is not None:
            filtered = {
                "where": options.where,
                "missing": options.missing,
                "rows": among.num_rows,
                "share": round(among.share, 6),
            }
        ms = {stage: round(1000 * seconds / num_queries, 3) for stage, seconds in self._seconds.items()}
        return {"space": self._spec.name, "effort": options.effort, "strategy": strategy, **filtered, "ms": ms}

    def _spellings(self, columns: Sequence[str]) -> list[str]:
        return [*_NEEDED, *(name for column in columns for name in self._version.columns.spellings(column))]


class _timed:  # noqa: N801
    """Notes how long a stage takes."""

    def __init__(self, seconds: dict[str, float], stage: str) -> None:
        self._seconds, self._stage = seconds, stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self._seconds[self._stage] = time.perf_counter() - self._started


def _kind(parts: _Parts) -> str:
    """What a query counts as: how far rows must be sought, and what their scores are compared with."""
    kinds = {part.kind for part in parts if part.weight > 0}
    if "text" in kinds:
        return "text"
    return "image" if kinds & {"image", "row"} else "vector"
