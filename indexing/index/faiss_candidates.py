"""A FAISS index as a source of candidates, whether it consists of inverted lists, a graph or a flat array of codes.

Shapes: Q queries, R candidates, D dimension. FAISS's words (`xq, I`) stay inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...datasets.recent import Recent
from ..store.rowset import RowSet
from .lists import InvertedLists, coarse_parameters, selector, untyped_faiss

# The largest efSearch of a graph that is useful.
_WIDEST_GRAPH = 4096
# Breadths whose parameters are kept. People use few.
_KEPT = 64


class FaissCandidates:
    """`Candidates` from FAISS."""

    are_scored = False  # its codes are coarse

    def __init__(self, index: Any, deleted: np.ndarray) -> None:
        self._index = index
        self._ivf: Any = untyped_faiss().try_extract_index_ivf(index)
        self.lists = InvertedLists(index, self._ivf) if self._ivf is not None else None
        self.num_rows: int = index.ntotal
        self.widest = self._widest()
        self._deleted = deleted[deleted < self.num_rows]
        self.num_alive = self.num_rows - len(self._deleted)
        self._alive = RowSet.without(self._deleted, self.num_rows) if len(self._deleted) else None
        self._known: Recent[tuple[int, int], Any] = Recent(_KEPT, lambda _: 1)

    def rows(self, queries_QD: np.ndarray, depth: int, nprobe: int) -> np.ndarray:
        """See `Candidates.rows`."""
        # To make the parameters takes a tenth of the time of a search.
        if (parameters := self._known.get((nprobe, depth))) is None:
            self._known.put((nprobe, depth), parameters := self._parameters(nprobe, depth))
        xq = queries_QD
        _, I = self._index.search(xq, min(depth, self.num_rows), params=parameters)  # noqa: E741
        return I

    def _widest(self) -> int:
        """All lists, or a large efSearch of a graph; 0 where there is neither."""
        if self.lists is not None:
            return len(self.lists)
        return min(_WIDEST_GRAPH, self.num_rows) if hasattr(untyped_faiss().downcast_index(self._index), "hnsw") else 0

    def _parameters(self, nprobe: int, depth: int) -> Any:
        """The parameters of a request; searches only read them. Those in the index are shared by all threads."""
        faiss = untyped_faiss()
        given = selector(self._alive) if self._alive else {}
        index = faiss.downcast_index(self._index)
        if self._ivf is None:
            if hasattr(index, "hnsw"):
                return faiss.SearchParametersHNSW(efSearch=max(nprobe, depth), **given)
            return faiss.SearchParameters(**given)
        coarse = coarse_parameters(faiss.downcast_index(self._ivf.quantizer), nprobe)
        parameters = faiss.SearchParametersIVF(nprobe=min(nprobe, self.widest), quantizer_params=coarse, **given)
        if isinstance(index, faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=parameters)
        return parameters
