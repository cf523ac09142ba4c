"""Planted galleries of 32 dimensions for tests of indexes, and brute force to hold them against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diantu.indexing.index.opened import GalleryIndex
from diantu.indexing.store.snapshot import Snapshot

DIM = 32
FACTORY = "IVF64,PQ16x4fsr"


def clustered(seed: int, count: int, *, around: float = 0.5) -> np.ndarray:
    """Unit vectors around 40 centres, as image embeddings are."""
    centres_CD = np.random.default_rng(99).standard_normal((40, DIM))
    rng = np.random.default_rng(seed)
    emb_ND = centres_CD[rng.integers(0, 40, count)] + around * rng.standard_normal((count, DIM))
    return (emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)).astype(np.float32)


def unit_vectors(seed: int, count: int, dim: int) -> np.ndarray:
    """Unit vectors without clusters, where training on a row matters most."""
    emb_ND = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return emb_ND / np.linalg.norm(emb_ND, axis=1, keepdims=True)


def opened(root: Path) -> GalleryIndex:
    return GalleryIndex.open(Snapshot.read(root))


def exact(root: Path, queries_QD: np.ndarray, k: int) -> np.ndarray:
    """Brute force in float64, deleted rows left out."""
    index = opened(root)
    emb_ND = index.vectors.rows(np.arange(len(index.vectors))).astype(np.float64)
    scores_QN = queries_QD.astype(np.float64) @ emb_ND.T
    scores_QN[:, index.snapshot.deleted] = -np.inf
    return np.argsort(-scores_QN, axis=1, kind="stable")[:, :k]


def share(found_QK: np.ndarray, expected_QK: np.ndarray) -> float:
    pairs = zip(found_QK, expected_QK, strict=True)
    return float(np.mean([len(np.intersect1d(found, expected)) for found, expected in pairs])) / expected_QK.shape[1]


def faiss_index(root: Path) -> Any:
    """The lists of an index."""
    import faiss

    return faiss.read_index(str(root / "index" / "hf_x" / "index.faiss"))


def coarse_centres(root: Path) -> np.ndarray:
    index = faiss_index(root)
    return index.quantizer.reconstruct_n(0, 64)
