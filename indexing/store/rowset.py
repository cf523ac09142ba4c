"""A set of rows as one bit per row: what a filter chooses, in the form that FAISS takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class RowSet:
    """A set of rows below `num_total`; `bits` are ⌈num_total / 8⌉ uint8 with the lowest row in the lowest bit."""

    bits: np.ndarray
    num_total: int

    @classmethod
    def of_mask(cls, mask_N: np.ndarray) -> RowSet:
        """The rows where a mask is true."""
        return cls.of_masks([mask_N])

    @classmethod
    def of_masks(cls, masks: Iterable[np.ndarray]) -> RowSet:
        """The rows where the masks of consecutive blocks of rows are true; only one mask is in memory at a time."""
        bits: list[np.ndarray] = []
        num_total, left_over = 0, np.zeros(0, bool)  # the rows that do not fill a byte yet
        for mask_N in masks:
            num_total += len(mask_N)
            joined = np.concatenate([left_over, mask_N]) if len(left_over) else mask_N
            whole = len(joined) // 8 * 8
            bits.append(np.packbits(joined[:whole], bitorder="little"))
            left_over = joined[whole:]
        return cls(np.concatenate([*bits, np.packbits(left_over, bitorder="little")]), num_total)

    @classmethod
    def without(cls, rows_M: np.ndarray, num_total: int) -> RowSet:
        """All rows except some."""
        mask_N = np.ones(num_total, bool)
        mask_N[rows_M] = False
        return cls.of_mask(mask_N)

    @cached_property
    def count(self) -> int:
        """Number of rows in the set."""
        return int(np.bitwise_count(self.bits).sum())

    def rows(self, start: int = 0, end: int | None = None) -> np.ndarray:
        """The rows of the set from `start` up to `end`: int64 row ids, ascending."""
        end = self.num_total if end is None else min(end, self.num_total)
        first = start // 8 * 8
        some = np.unpackbits(self.bits[first // 8 : -(-end // 8)], bitorder="little")
        return np.flatnonzero(some[: max(end - first, 0)][start - first :]) + start

    def __and__(self, other: RowSet) -> RowSet:
        assert self.num_total == other.num_total
        return RowSet(self.bits & other.bits, self.num_total)
