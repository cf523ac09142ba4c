"""SQL conditions over a gallery's metadata, and the rows that meet them.

DuckDB evaluates them over columns that are already in memory. It opens no file, so a condition can only choose rows.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ...datasets.conditions import WHERE_SECONDS, Budget, Missing, chosen_rows, locked_duckdb, understood
from ...datasets.errors import InputError
from ...datasets.recent import Recent
from .columns import Columns
from .duplicates import read_duplicates
from .rowset import RowSet
from .snapshot import Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MISSING = ("exclude", "include")
# Memory for answers that are kept: one takes 125 MB for a billion rows.
_KEPT_BYTES = 1 << 28
# Threads that read and evaluate blocks of a million rows for one condition; Arrow and DuckDB release the GIL. So many
# blocks are in memory beside those that are kept.
_THREADS = min(4, os.cpu_count() or 1)

_T = TypeVar("_T")


class Filters:
    """Answers conditions over one snapshot; recent answers are kept. Threads may share it."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._kept: Recent[tuple[str, str], RowSet] = Recent(_KEPT_BYTES, lambda rows: max(len(rows.bits), 1 << 12))

    def rows(self, where: str, missing: Missing = "exclude", *, where_timeout: float = WHERE_SECONDS) -> RowSet:
        """The rows that meet a SQL condition over the metadata, such as `width >= 512 AND punsafe < 0.1`.

        Deleted rows are found, too. A field that only some parts have counts as missing in the others.

        Args:
            where: one expression; see `datasets.conditions`.
            missing: what to do with rows for which the condition is neither true nor false because a value is missing:
                `exclude` them, as SQL does, or `include` them.
            where_timeout: seconds that the condition may take for each million rows; reading columns does not count.

        Raises:
            InputError: if the condition cannot be used or takes too much time or memory, or metadata is damaged.
        """
        if missing not in MISSING:
            raise InputError(f"missing {missing!r} is not known; missing values: {' or '.join(MISSING)}")
        if (kept := self._kept.get((where, missing))) is not None:
            return kept
        found = RowSet.of_masks(self._masks(where, missing, Budget(where_timeout)))
        self._kept.put((where, missing), found)
        return found

    def _masks(self, where: str, missing: Missing, budget: Budget) -> Iterator[np.ndarray]:
        """Which rows meet a condition: `N` bool for each block of rows."""
        if not self._columns.num_rows:
            return  # a gallery without rows has no columns to check
        connection = self._connection.cursor()  # threads must not share one
        condition = understood(connection, where, self._columns.names, owner="the gallery's rows", budget=budget)

        def chosen(block: int) -> np.ndarray:
            _, table = self._columns.block(block, condition.columns)
            return chosen_rows(self._connection.cursor(), condition, table, missing, Budget(budget.seconds))

        # A condition that is not known to be cheap has one process.
        yield from _in_order(chosen, self._columns.num_blocks, _THREADS if condition.is_cheap else 1)

    @cached_property
    def _connection(self) -> DuckDBPyConnection:
        return locked_duckdb()


def _in_order(function: Callable[[int], _T], count: int, num_threads: int) -> Iterator[_T]:
    """The values of a function for 0, 1, …, `count` - 1; threads are at most so many values ahead."""
    if min(count, num_threads) == 1:
        yield from map(function, range(count))
        return
    with ThreadPoolExecutor(num_threads, "filter") as pool:
        try:
            ahead: deque[Future[_T]] = deque()
            for number in range(count):
                ahead.append(pool.submit(function, number))
                if len(ahead) > num_threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def matching_rows(
    snapshot: Snapshot, conditions: Sequence[str], *, where_timeout: float = WHERE_SECONDS
) -> list[np.ndarray]:
    """The rows that meet each of some conditions, deleted rows included; see `Filters.rows`.

    Returns:
        For each condition the row ids, int64, ascending.

    Raises:
        InputError: if a condition cannot be used, or metadata is damaged.
    """
    filters = Filters(Columns(snapshot, read_duplicates(snapshot.root)))
    return [filters.rows(where, where_timeout=where_timeout).rows() for where in conditions]
