"""Trains an empty index on a sample of vectors: its lists and its codes; on GPUs where FAISS finds any.

Shapes: N rows, D dimension, L lists. FAISS's words stay inside.
"""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
from tqdm import tqdm

from ...datasets.errors import InputError
from ..index.report import IndexSpec
from ..store.vectors import Vectors

# Steps of k-means; later steps change the distances by less than a percent.
_ITERATIONS = 8
# Rows that are read at a time, so that the progress bar moves.
_READ = 16_384
# The indexes without lists that accept a selector of rows.
_CAN_LEAVE_OUT = (faiss.IndexFlat, faiss.IndexScalarQuantizer, faiss.IndexHNSW)
# Rows that codes are learned from; more rows add nothing.
_CODE_SAMPLE = 65_536
# Lists with the codes nearest to a row, which are compared exactly to find the row's list.
_LISTS_COMPARED = 32


def trained(vectors: Vectors, spec: IndexSpec, rows_N: np.ndarray, *, show_progress: bool = False) -> faiss.Index:
    """An empty index, trained on some rows.

    Args:
        vectors: all rows.
        spec: what to build.
        rows_N: the rows to train on, ascending.
        show_progress: progress bars on stderr.

    Raises:
        InputError: if FAISS does not know the factory string or silently uses another metric for it (`HNSW…,PQ` and
            `ITQ` become Euclidean), or there are too few rows to train on.
    """
    index = _made(vectors.dim, spec)
    if index.is_trained or not len(rows_N):
        return index
    x = np.empty((len(rows_N), vectors.dim), np.float32)
    with _bar(show_progress, len(rows_N), "sampling", " rows") as bar:
        for low in range(0, len(rows_N), _READ):
            some = rows_N[low : low + _READ]
            x[low : low + len(some)] = vectors.rows(some)
            bar.update(len(some))
    try:
        _train(index, x, spec.seed, show_progress)
    except RuntimeError as error:
        reason = str(error).rpartition("failed: ")[2].strip() or str(error)
        raise InputError(f"{spec.factory} cannot be trained on {len(x)} rows ({reason}); take fewer lists") from error
    return index


def residual(index: faiss.Index, x: np.ndarray) -> float:
    """Mean squared distance of rows to the centres of their lists, 0 where the index has none."""
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None or not len(x):
        return 0.0
    x = _transformed(index, x)
    lists = ivf.quantizer.search(x, 1)[1][:, 0]
    return float(np.square(x - ivf.quantizer.reconstruct_batch(lists)).sum(axis=1).mean())


def _made(dim: int, spec: IndexSpec) -> faiss.Index:
    try:
        index = faiss.index_factory(dim, spec.factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(f"FAISS does not know the factory {spec.factory!r} for {dim} dimensions") from error
    ivf = faiss.try_extract_index_ivf(index)
    if any(part is not None and part.metric_type != faiss.METRIC_INNER_PRODUCT for part in (index, ivf)):
        raise InputError(f"the factory {spec.factory} does not support the inner product; choose another one")
    base = faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
    if ivf is None and not isinstance(base, _CAN_LEAVE_OUT):
        raise InputError(f"the index {spec.factory} cannot leave out deleted rows; choose Flat, SQ…, HNSW… or IVF…")
    if ivf is not None and isinstance(quantizer := faiss.downcast_index(ivf.quantizer), faiss.IndexRefine):
        quantizer.k_factor = _LISTS_COMPARED
    return index


def _train(index: faiss.Index, x: np.ndarray, seed: int, show_progress: bool) -> None:
    ivf = faiss.try_extract_index_ivf(index)
    if ivf is None:
        with _bar(show_progress, 1, "training", "") as bar:
            index.train(x)
            bar.update()
        return
    x = _transformed(index, x)
    centres_LD = _centres(x, ivf, seed, show_progress)
    ivf.quantizer.reset()
    ivf.quantizer.add(centres_LD)
    ivf.train(x[np.random.default_rng(seed).permutation(len(x))[:_CODE_SAMPLE]])
    index.is_trained = True


def _transformed(index: faiss.Index, x: np.ndarray) -> np.ndarray:
    """Rows in the space of the lists: rotated or reduced, where the factory string says so; trained if necessary."""
    if isinstance(index, faiss.IndexPreTransform):
        chain: Any = index.chain
        for i in range(chain.size()):
            transform = faiss.downcast_VectorTransform(chain.at(i))
            if not transform.is_trained:
                transform.train(x)
            x = transform.apply(x)
    return x


def _centres(x: np.ndarray, ivf: faiss.IndexIVF, seed: int, show_progress: bool) -> np.ndarray:
    """Spherical k-means, one step at a time so that the progress bar moves: `centres_LD`, unit length."""
    if not ivf.quantizer.is_trained:  # its codes must distinguish centres anywhere in the space
        ivf.quantizer.train(x[:_CODE_SAMPLE])
    nearest = _nearest_centre(ivf)
    centres_LD = np.zeros((0, ivf.d), np.float32)
    with _bar(show_progress, _ITERATIONS, "training", " steps") as bar:
        for _ in range(_ITERATIONS):
            step = faiss.Clustering(ivf.d, ivf.nlist)
            step.niter, step.spherical, step.seed = 1, True, seed
            step.min_points_per_centroid = 1  # silences a warning of FAISS; the plan ensures enough rows
            faiss.copy_array_to_vector(centres_LD.ravel(), step.centroids)
            step.train(x, nearest)
            centres_LD = faiss.vector_to_array(step.centroids).reshape(ivf.nlist, ivf.d)
            bar.update()
    return centres_LD


def _nearest_centre(ivf: faiss.IndexIVF) -> faiss.Index:
    """The index that assigns rows to centres: on GPUs; else the lists' own coarse codes, if any; else exact."""
    if faiss.get_num_gpus():
        return faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(ivf.d))
    quantizer = faiss.downcast_index(ivf.quantizer)
    return quantizer if isinstance(quantizer, faiss.IndexRefine) else faiss.IndexFlatIP(ivf.d)


def _bar(show: bool, total: int, what: str, unit: str) -> tqdm:
    return tqdm(total=total, desc=what, unit=unit, disable=not show, dynamic_ncols=True)
