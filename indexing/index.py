"""An opened index: FAISS for the rows that it holds, exact search for those added since. Every search goes through it.

Shapes: Q queries, K results, D dimension. FAISS's words (`xq, D, I`) stay inside this file and `build.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.types import InputError
from .manifest import Manifest
from .vectors import Vectors, best, exact_search


def index_folder(root: Path, manifest: Manifest) -> Path:
    """Where the index of a gallery's main space lies."""
    return root / "index" / manifest.spec.slug


class GalleryIndex:
    """Searches all rows of a gallery, whether or not an index has been built."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.vectors = Vectors(root, manifest)
        self.report = _read_report(index_folder(root, manifest), manifest)
        self._faiss = None
        if self.report:
            self._faiss = _read_faiss(index_folder(root, manifest) / "index.faiss", self.report["num_rows"])

    @property
    def num_indexed(self) -> int:
        """Rows that the FAISS index holds; the ones after them are searched exactly."""
        return self._faiss.ntotal if self._faiss is not None else 0

    def search(self, queries_QD: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest rows of each query.

        Returns:
            `scores_QK` float32 inner products, descending, and `rows_QK` int64; a gallery of fewer than k rows gives
            as many columns as it has rows.
        """
        k = min(k, len(self.vectors))
        queries_QD = np.ascontiguousarray(queries_QD, np.float32)
        if k < 1:
            return np.zeros((len(queries_QD), 0), np.float32), np.zeros((len(queries_QD), 0), np.int64)
        scores_QK, rows_QK = exact_search(self.vectors, queries_QD, k, start=self.num_indexed)
        if self._faiss is not None and self.num_indexed:
            xq = queries_QD
            D, I = self._faiss.search(xq, min(k, self.num_indexed))  # noqa: E741
            scores_QK, rows_QK = best(np.hstack([D, scores_QK]), np.hstack([I, rows_QK]), k)
        return scores_QK, rows_QK


@contextmanager
def faiss_threads(count: int) -> Iterator[None]:
    """Runs FAISS with a number of OpenMP threads; the setting belongs to the calling Python thread."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _read_faiss(path: Path, num_rows: int) -> Any:
    import faiss

    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise InputError(f"{path} is missing or damaged; build the index again with: diantu index") from error
    if index.ntotal != num_rows or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise InputError(f"{path} does not belong to its index.json; build the index again with: diantu index")
    return index


def _read_report(folder: Path, manifest: Manifest) -> dict[str, Any] | None:
    """The `index.json` of a finished index of this gallery, or None where there is no index."""
    path = folder / "index.json"
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        num_rows, fingerprint = report["num_rows"], report["encoder_fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}); build the index again with: diantu index") from error
    if fingerprint != manifest.spec.fingerprint or num_rows > manifest.num_rows:
        raise InputError(f"the index in {folder} was built for another gallery; build it again with: diantu index")
    return report
