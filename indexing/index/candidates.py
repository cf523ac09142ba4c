"""What every kind of index offers a search: rows that are probably near a query.

Shapes: Q queries, R candidates.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .lists import InvertedLists


class Candidates(Protocol):
    """A source of candidates. It never proposes a deleted row. Threads may share it.

    Attributes:
        num_rows: rows that the index holds.
        num_alive: those of them that are not deleted.
        widest: the largest useful breadth: the number of inverted lists, or a large search window of a graph; 0 where
            every row is looked at.
        are_scored: whether the candidates come with exact scores, best first, so that they need not be scored again.
        lists: its inverted lists; None for other kinds of index.
    """

    num_rows: int
    num_alive: int
    widest: int
    are_scored: bool
    lists: InvertedLists | None

    def rows(self, queries_QD: np.ndarray, depth: int, nprobe: int) -> np.ndarray:
        """R = `depth` candidates for each query: `rows_QR` int64, the most likely first; −1 where there are fewer."""
        ...
