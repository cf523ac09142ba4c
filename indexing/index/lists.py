"""The inverted lists of a FAISS index, for searches among the rows of a filter.

Shapes: N rows, D dimension, R candidates, L lists, P lists that are searched. FAISS's words (`xq, D`) stay inside.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from ..store.rowset import RowSet


class InvertedLists:
    """The lists of rows that a FAISS index consists of."""

    def __init__(self, index: Any, ivf: Any) -> None:
        """`ivf` is the part of the index that has the lists; the index may transform queries before it."""
        self._index = index
        self._ivf = ivf

    def __len__(self) -> int:
        return self._ivf.nlist

    @cached_property
    def sizes(self) -> np.ndarray:
        """Number of rows in each list: `L` int64."""
        return np.array([self._ivf.invlists.list_size(number) for number in range(len(self))], np.int64)

    @cached_property
    def of_rows(self) -> np.ndarray:
        """The list of each row: `N` int32."""
        lists_N = np.empty(self._index.ntotal, np.int32)
        inverted = self._ivf.invlists
        for number in range(len(self)):
            if size := inverted.list_size(number):
                lists_N[untyped_faiss().rev_swig_ptr(inverted.get_ids(number), size)] = number
        return lists_N

    def nearest(self, query_D: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The lists nearest to a query, at most `count`: `scores_P` float32 and `lists_P`, best first."""
        quantizer = untyped_faiss().downcast_index(self._ivf.quantizer)
        parameters = coarse_parameters(quantizer, count, refine=1)  # so many are taken that their order matters little
        scores_1P, lists_1P = quantizer.search(
            self._transformed(query_D[None]), min(count, len(self)), params=parameters
        )
        is_list_P = lists_1P[0] >= 0
        return scores_1P[0, is_list_P], lists_1P[0, is_list_P]

    def rows(self, query_D: np.ndarray, depth: int, lists: tuple[np.ndarray, np.ndarray], among: RowSet) -> np.ndarray:
        """At most `depth` candidates from some lists: `rows_R` int64, the most likely first.

        Args:
            query_D: float32.
            depth: number of candidates.
            lists: `scores_P` and `lists_P`, as `nearest` returns them.
            among: the rows that may be proposed, without deleted ones.
        """
        scores_P, lists_P = (np.ascontiguousarray(each) for each in lists)
        xq, found_R, D = self._transformed(query_D[None]), np.empty(depth, np.int64), np.empty(depth, np.float32)
        parameters = untyped_faiss().SearchParametersIVF(nprobe=len(lists_P), **selector(among))
        pointers = [untyped_faiss().swig_ptr(array) for array in (lists_P, scores_P, D, found_R)]
        # The Python form of this call takes no parameters, so it accepts neither the number of lists nor a selector.
        self._ivf.search_preassigned_c(1, untyped_faiss().swig_ptr(xq), depth, *pointers, False, parameters)
        return found_R[found_R >= 0]

    def _transformed(self, xq: np.ndarray) -> np.ndarray:
        """Queries in the space of the lists: rotated, if the index rotates its vectors."""
        faiss = untyped_faiss()
        if isinstance(index := faiss.downcast_index(self._index), faiss.IndexPreTransform):
            for i in range(index.chain.size()):
                xq = faiss.downcast_VectorTransform(index.chain.at(i)).apply(xq)
        return xq


def coarse_parameters(quantizer: Any, nprobe: int, *, refine: int = 2) -> Any:
    """How the nearest lists are found. In a graph, efSearch must be at least the number of lists."""
    faiss = untyped_faiss()
    if hasattr(quantizer, "hnsw"):
        return faiss.SearchParametersHNSW(efSearch=max(64, nprobe))
    if isinstance(quantizer, faiss.IndexRefine):
        return faiss.IndexRefineSearchParameters(k_factor=refine)
    return None


def selector(among: RowSet) -> dict[str, Any]:
    """Limits a search to some rows. FAISS keeps a pointer to the bits, so the row set must outlive the search."""
    faiss = untyped_faiss()
    return {"sel": faiss.IDSelectorBitmap(among.num_total, faiss.swig_ptr(among.bits))}


def untyped_faiss() -> Any:
    """FAISS without its type stubs, which lack the keyword parameters of its Python classes."""
    import faiss

    return faiss
