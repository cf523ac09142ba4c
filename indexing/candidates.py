"""A FAISS index as a source of candidates, whatever it is made of: lists, a graph, or codes in a row.

Shapes: Q queries, R candidates, D dimension. FAISS's words (`xq, D, I`) stay inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# The widest search of a graph that makes sense.
_WIDEST_GRAPH = 4096


class Candidates:
    """A FAISS index as a source of rows that are probably near: never a deleted one."""

    def __init__(self, index: Any, deleted: np.ndarray) -> None:
        import faiss

        self._index = index
        self._ivf = faiss.try_extract_index_ivf(index)
        self.num_rows: int = index.ntotal
        self.widest = self._widest()
        self._deleted = deleted[deleted < self.num_rows]
        self.num_alive = self.num_rows - len(self._deleted)
        self._selector = None
        if len(self._deleted):
            alive = np.ones(self.num_rows, bool)
            alive[self._deleted] = False
            self._bits = np.packbits(alive, bitorder="little")  # FAISS keeps a pointer to it
            self._selector = faiss.IDSelectorBitmap(self.num_rows, faiss.swig_ptr(self._bits))

    def _widest(self) -> int:
        """The largest nprobe there is: all lists, or a large efSearch of a graph; 0 where neither exists."""
        if self._ivf is not None:
            return self._ivf.nlist
        return min(_WIDEST_GRAPH, self.num_rows) if hasattr(_faiss().downcast_index(self._index), "hnsw") else 0

    def rows(self, queries_QD: np.ndarray, depth: int, nprobe: int) -> np.ndarray:
        """`rows_QR` int64 of R = depth candidates a query, the likelier first; −1 where there are fewer."""
        xq = queries_QD
        _, I = self._index.search(xq, min(depth, self.num_rows), params=self._parameters(nprobe, depth))  # noqa: E741
        return I

    def _parameters(self, nprobe: int, depth: int) -> Any:
        """One request's own: what is stored in the index is shared by all threads."""
        faiss = _faiss()
        given: dict[str, Any] = {"sel": self._selector} if self._selector else {}
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


def _faiss() -> Any:
    """FAISS without its types: they do not know the parameters that its Python classes take by name."""
    import faiss

    return faiss


def _coarse_parameters(quantizer: Any, nprobe: int) -> Any:
    """How the nearest lists are found: in a graph the search must be as wide as the number of lists asked for."""
    faiss = _faiss()
    if hasattr(quantizer, "hnsw"):
        return faiss.SearchParametersHNSW(efSearch=max(64, nprobe))
    if isinstance(quantizer, faiss.IndexRefine):
        return faiss.IndexRefineSearchParameters(k_factor=2)
    return None
