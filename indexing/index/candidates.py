"""A FAISS index as a source of candidates, whether it consists of inverted lists, a graph or a flat array of codes.

Shapes: Q queries, R candidates, D dimension. FAISS's words (`xq, D, I`) stay inside.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ...datasets.recent import Recent
from ..store.rowset import RowSet

# The largest efSearch of a graph that is useful.
_WIDEST_GRAPH = 4096
# Breadths whose parameters are kept. People use few.
_KEPT = 64


class Candidates:
    """A FAISS index that proposes rows which are probably near a query. It never proposes a deleted row."""

    def __init__(self, index: Any, deleted: np.ndarray) -> None:
        import faiss

        self._index = index
        self._ivf: Any = faiss.try_extract_index_ivf(index)
        self.num_rows: int = index.ntotal
        self.widest = self._widest()
        self._deleted = deleted[deleted < self.num_rows]
        self.num_alive = self.num_rows - len(self._deleted)
        self._alive = RowSet.without(self._deleted, self.num_rows) if len(self._deleted) else None
        self._known: Recent[tuple[int, int], Any] = Recent(_KEPT, lambda _: 1)

    @property
    def num_lists(self) -> int:
        """Number of inverted lists; 0 for other kinds of index."""
        return self._ivf.nlist if self._ivf is not None else 0

    @cached_property
    def list_sizes(self) -> np.ndarray:
        """Number of rows in each inverted list: `L` int64."""
        return np.array([self._ivf.invlists.list_size(number) for number in range(self.num_lists)], np.int64)

    @cached_property
    def list_of_rows(self) -> np.ndarray:
        """The inverted list of each row: `N` int32."""
        lists_N = np.empty(self.num_rows, np.int32)
        inverted = self._ivf.invlists
        for number in range(self.num_lists):
            if size := inverted.list_size(number):
                lists_N[_faiss().rev_swig_ptr(inverted.get_ids(number), size)] = number
        return lists_N

    def nearest_lists(self, query_D: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The inverted lists nearest to a query, at most `count`: `scores_P` float32 and `lists_P`, best first."""
        quantizer = _faiss().downcast_index(self._ivf.quantizer)
        parameters = _coarse_parameters(quantizer, count, refine=1)  # so many are taken that their order matters little
        scores_1P, lists_1P = quantizer.search(
            self._transformed(query_D[None]), min(count, self.num_lists), params=parameters
        )
        is_list_P = lists_1P[0] >= 0
        return scores_1P[0, is_list_P], lists_1P[0, is_list_P]

    def rows_in_lists(
        self, query_D: np.ndarray, depth: int, lists: tuple[np.ndarray, np.ndarray], among: RowSet
    ) -> np.ndarray:
        """At most `depth` candidates from some lists: `rows_R` int64, the most likely first.

        Args:
            query_D: float32.
            depth: number of candidates.
            lists: `scores_P` and `lists_P`, as `nearest_lists` returns them.
            among: the rows that may be proposed, without deleted ones.
        """
        scores_P, lists_P = (np.ascontiguousarray(each) for each in lists)
        xq, found_R, D = self._transformed(query_D[None]), np.empty(depth, np.int64), np.empty(depth, np.float32)
        parameters = _faiss().SearchParametersIVF(nprobe=len(lists_P), **self._selector(among))
        pointers = [_faiss().swig_ptr(array) for array in (lists_P, scores_P, D, found_R)]
        # The Python form of this call takes no parameters, so it accepts neither the number of lists nor a selector.
        self._ivf.search_preassigned_c(1, _faiss().swig_ptr(xq), depth, *pointers, False, parameters)
        return found_R[found_R >= 0]

    def _transformed(self, xq: np.ndarray) -> np.ndarray:
        """Queries in the space of the inverted lists: rotated, if the index rotates its vectors."""
        faiss = _faiss()
        if isinstance(index := faiss.downcast_index(self._index), faiss.IndexPreTransform):
            for i in range(index.chain.size()):
                xq = faiss.downcast_VectorTransform(index.chain.at(i)).apply(xq)
        return xq

    def _widest(self) -> int:
        """The largest possible nprobe: all lists, or a large efSearch of a graph; 0 where there is neither."""
        if self._ivf is not None:
            return self._ivf.nlist
        return min(_WIDEST_GRAPH, self.num_rows) if hasattr(_faiss().downcast_index(self._index), "hnsw") else 0

    def rows(self, queries_QD: np.ndarray, depth: int, nprobe: int) -> np.ndarray:
        """R = `depth` candidates for each query: `rows_QR` int64, the most likely first; −1 where there are fewer."""
        # To make the parameters takes a tenth of the time of a search.
        if (parameters := self._known.get((nprobe, depth))) is None:
            self._known.put((nprobe, depth), parameters := self._parameters(nprobe, depth))
        xq = queries_QD
        _, I = self._index.search(xq, min(depth, self.num_rows), params=parameters)  # noqa: E741
        return I

    def _parameters(self, nprobe: int, depth: int) -> Any:
        """The parameters of a request; searches only read them. Those in the index are shared by all threads."""
        faiss = _faiss()
        given = self._selector(self._alive) if self._alive else {}
        index = faiss.downcast_index(self._index)
        if self._ivf is None:
            if hasattr(index, "hnsw"):
                return faiss.SearchParametersHNSW(efSearch=max(nprobe, depth), **given)
            return faiss.SearchParameters(**given)
        coarse = _coarse_parameters(faiss.downcast_index(self._ivf.quantizer), nprobe)
        parameters = faiss.SearchParametersIVF(nprobe=min(nprobe, self.widest), quantizer_params=coarse, **given)
        if isinstance(index, faiss.IndexPreTransform):
            return faiss.SearchParametersPreTransform(index_params=parameters)
        return parameters

    def _selector(self, among: RowSet) -> dict[str, Any]:
        """FAISS keeps a pointer to the bits, so the row set must outlive the search."""
        faiss = _faiss()
        return {"sel": faiss.IDSelectorBitmap(self.num_rows, faiss.swig_ptr(among.bits))}


def _faiss() -> Any:
    """FAISS without its type stubs, which lack the keyword parameters of its Python classes."""
    import faiss

    return faiss


def _coarse_parameters(quantizer: Any, nprobe: int, *, refine: int = 2) -> Any:
    """How the nearest lists are found. In a graph, efSearch must be at least the number of lists."""
    faiss = _faiss()
    if hasattr(quantizer, "hnsw"):
        return faiss.SearchParametersHNSW(efSearch=max(64, nprobe))
    if isinstance(quantizer, faiss.IndexRefine):
        return faiss.IndexRefineSearchParameters(k_factor=refine)
    return None
