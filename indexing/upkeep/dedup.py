"""Finds near-duplicates in a whole gallery: each row is a query, and similar rows form groups with a representative.

Shapes: N rows of the gallery, Q rows of a block, K neighbours, C candidates, D dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from ...datasets.checksums import settle
from ...datasets.errors import InputError
from ...datasets.files import exclusive
from ..index.opened import GalleryIndex
from ..store.duplicates import COLUMNS, Duplicates, write_duplicates
from ..store.layout import JOB_LOCK
from ..store.parts import read_metadata
from ..store.records import check_parts
from ..store.snapshot import Snapshot
from ..store.vectors import Vectors

# Of the 16,833 pairs of different images among the bundled photographs, none differs in fewer than 12 bits. Of altered
# copies, these differ in at most 10: JPEG of quality 30, 100 %; half the size, 100 %; 30 % brighter, 99 %; cropped by
# 2 % or 5 % on all sides, 100 % or 97 %; cropped by 5 % on the left and the top only, 63 %.
MAX_HASH_DISTANCE = 10
# Vectors are stored as float16, so an image's score with an exact copy may be a little below 1.
_MAX_THRESHOLD = 0.999
_BLOCK = 256  # rows searched at a time: their scores with a block of an exact search take 64 MB
# The number of neighbours searched for, its growth while all of them are similar, and the maximum, which is FAISS's
# limit on a GPU.
_FIRST, _FACTOR, _MOST = 32, 8, 2048


def find_duplicates(
    root: str | Path,
    *,
    threshold: float = 0.95,
    max_hash_distance: int = MAX_HASH_DISTANCE,
    show_progress: bool = False,
) -> Duplicates:
    """Finds a gallery's near-duplicates through its index, and writes them to `duplicates.parquet`.

    Two rows are similar if their score is at least `threshold` and, where both have a perceptual hash, their hashes
    differ in at most `max_hash_distance` bits. One signal alone is not enough: a coarse encoder gives different images
    the same vector, and a 64-bit hash does not describe the content.

    Images are processed from the largest to the smallest, images of equal (or unknown) size by ascending row. An image
    that is similar to no representative becomes one; any other is a duplicate of the most similar representative
    (leader clustering, Hartigan 1975). So each duplicate is similar to its representative, which chains of similar
    images do not guarantee, and the representative is the largest image. The neighbours of a row that is already known
    as a duplicate are not searched. Memory is about 50 bytes per row.

    Up to 2048 neighbours of an image are examined. Where more reach the threshold, the others join it through its
    duplicates among their own neighbours. `num_cut` counts such images.

    Args:
        root: the gallery's folder. Deleted rows are left out.
        threshold: the lowest score of similar rows, above 0 and up to 0.999.
        max_hash_distance: 0 to 64 bits; 64 ignores the hash. The default separates different images from altered copies
            among the bundled photographs, see `MAX_HASH_DISTANCE`.
        show_progress: a progress bar on stderr.

    Raises:
        InputError: if a setting is out of range, there is no gallery, or a job is writing to it.
    """
    root = Path(root)
    if not 0 < threshold <= _MAX_THRESHOLD:
        raise InputError(
            f"the threshold is {threshold:g}; give a score above 0 and up to {_MAX_THRESHOLD}, which exact copies reach"
        )
    if not 0 <= max_hash_distance <= 64:
        raise InputError(f"the hash distance is {max_hash_distance}; give 0 to 64 bits, where 64 ignores the hash")
    with exclusive(root, JOB_LOCK):
        settle(root)
        snapshot = Snapshot.read(root)
        check_parts(root, (number for number, _ in snapshot.manifest.parts), ["img_emb", "metadata"])
        index = GalleryIndex.open(snapshot)
        looks = _read_looks(snapshot)
        groups = _Groups(index.vectors, looks, threshold, max_hash_distance)
        with tqdm(
            total=len(looks.order), unit=" rows", desc="comparing", disable=not show_progress, dynamic_ncols=True
        ) as bar:
            for start in range(0, len(looks.order), _BLOCK):
                block = looks.order[start : start + _BLOCK]
                _examine(index, groups, block[~groups.is_settled(block)])
                bar.update(len(block))
        settings = {
            "threshold": threshold,
            "max_hash_distance": max_hash_distance,
            "num_rows": snapshot.num_rows,
            "num_deleted": len(snapshot.deleted),
            "num_cut": groups.num_cut,
        }
        return write_duplicates(root, groups.table(), settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looks:
    """What is known of all rows except their vectors; `order`: rows that are not deleted, largest image first."""

    order: np.ndarray
    is_deleted: np.ndarray
    hashes: np.ndarray
    has_hash: np.ndarray

    def hash_distances(self, rows: int | np.ndarray, others_C: np.ndarray) -> np.ndarray:
        """The number of differing hash bits, int8, of one row (or one per other row) and others; −1 where unknown."""
        distances_C = np.bitwise_count(self.hashes[rows] ^ self.hashes[others_C]).astype(np.int8)
        return np.where(self.has_hash[rows] & self.has_hash[others_C], distances_C, np.int8(-1))


def _read_looks(snapshot: Snapshot) -> _Looks:
    size = snapshot.num_rows
    hashes, has_hash, areas = np.zeros(size, np.uint64), np.zeros(size, bool), np.zeros(size, np.int64)
    first = 0
    for number, count in snapshot.manifest.parts:
        if not count:
            continue  # it may have no files
        here = slice(first, first + count)
        table = read_metadata(snapshot.root, number, ["phash", "width", "height"])
        hashes[here] = table["phash"].fill_null(0).to_numpy()
        has_hash[here] = table["phash"].is_valid().to_numpy()
        areas[here] = table["width"].fill_null(0).to_numpy() * table["height"].fill_null(0).to_numpy()
        first += count
    is_deleted = np.zeros(size, bool)
    is_deleted[snapshot.deleted] = True
    order = np.argsort(-areas, kind="stable")
    return _Looks(order=order[~is_deleted[order]], is_deleted=is_deleted, hashes=hashes, has_hash=has_hash)


@dataclass(slots=True)
class _Neighbours:
    """The rows that are similar to a row, with their scores. `is_cut` says that there are more."""

    rows: np.ndarray
    scores: np.ndarray
    is_cut: bool


def _examine(index: GalleryIndex, groups: _Groups, rows: np.ndarray) -> None:
    """Decides about the rows of a block in order of preference: one search for all, then one row after another."""
    emb_QD = index.vectors.rows(rows)
    found: dict[int, _Neighbours] = {}
    asked, k = np.arange(len(rows)), _FIRST
    while len(asked):
        scores_QK, rows_QK = index.search(emb_QD[asked], k, kind="image")
        is_full = scores_QK.shape[1] == k < len(index.vectors)
        for i, scores_K, rows_K in zip(asked.tolist(), scores_QK, rows_QK, strict=True):
            found[i] = groups.alike(int(rows[i]), rows_K, scores_K, is_full)
        if k == _MOST:
            break
        # The first neighbours show that a row belongs to a known group; only a new group needs more neighbours.
        cut = [i for i in asked.tolist() if found[i].is_cut and not groups.join(int(rows[i]), emb_QD[i], found[i])]
        asked, k = np.array(cut, np.int64), min(_FACTOR * k, _MOST)
    for i, row in enumerate(rows.tolist()):
        groups.settle(row, emb_QD[i], found[i])


class _Groups:
    """The groups known so far: for each row its representative and their score."""

    def __init__(self, vectors: Vectors, looks: _Looks, threshold: float, max_hash_distance: int) -> None:
        self.num_cut = 0
        self._vectors = vectors
        self._looks = looks
        self._threshold = np.float32(threshold)
        self._max_hash_distance = max_hash_distance
        self._representative_N = np.full(len(vectors), -1, np.int64)
        self._score_N = np.full(len(vectors), -np.inf, np.float32)

    def is_settled(self, rows_Q: np.ndarray) -> np.ndarray:
        """Whether rows are already known as representatives or duplicates."""
        return self._representative_N[rows_Q] >= 0

    def alike(self, row: int, rows_K: np.ndarray, scores_K: np.ndarray, is_full: bool) -> _Neighbours:
        """The neighbours of a row that are similar to it; `is_full` says that the search may have found more."""
        is_near_K = scores_K >= self._threshold
        is_cut = bool(is_full and is_near_K[-1])
        is_near_K &= (rows_K != row) & ~self._looks.is_deleted[rows_K]
        rows_C, scores_C = rows_K[is_near_K], scores_K[is_near_K]
        is_like_C = self._looks.hash_distances(row, rows_C) <= self._max_hash_distance
        return _Neighbours(rows=rows_C[is_like_C], scores=scores_C[is_like_C], is_cut=is_cut)

    def join(self, row: int, emb_D: np.ndarray, neighbours: _Neighbours) -> bool:
        """Makes a row a duplicate of a similar representative, found through its neighbours, if there is one.

        A representative with a complete list of neighbours has already claimed the row. This is for incomplete lists,
        and for an approximate index, which may find a pair from one side only.
        """
        known = self._representative_N[neighbours.rows]
        candidates = np.unique(known[known >= 0])
        candidates = candidates[self._looks.hash_distances(row, candidates) <= self._max_hash_distance]
        if not len(candidates):
            return False
        scores_C = self._vectors.rows(candidates) @ emb_D
        best = int(scores_C.argmax())
        if scores_C[best] < self._threshold:
            return False
        self._representative_N[row], self._score_N[row] = candidates[best], scores_C[best]
        return True

    def settle(self, row: int, emb_D: np.ndarray, neighbours: _Neighbours) -> None:
        """Makes a row a representative, which claims the rows similar to it, unless the row is a duplicate."""
        if self._representative_N[row] >= 0 or self.join(row, emb_D, neighbours):
            return
        self.num_cut += neighbours.is_cut
        self._representative_N[row] = row
        others_C, scores_C = neighbours.rows, neighbours.scores
        claimed_C = (scores_C > self._score_N[others_C]) & (self._representative_N[others_C] != others_C)
        self._representative_N[others_C[claimed_C]] = row
        self._score_N[others_C[claimed_C]] = scores_C[claimed_C]

    def table(self) -> pa.Table:
        """The duplicates by ascending row. Scores have four decimals, the precision of float16."""
        all_N = np.arange(len(self._representative_N))
        rows = np.flatnonzero((self._representative_N >= 0) & (self._representative_N != all_N))
        representatives = self._representative_N[rows]
        distances = self._looks.hash_distances(rows, representatives)
        columns = {
            "row": rows,
            "duplicate_of": representatives,
            "score": self._score_N[rows].round(4),
            "hash_distance": pa.array(distances, mask=distances < 0),
        }
        return pa.table(columns, schema=COLUMNS)
