"""SQL conditions over a gallery's metadata, and the rows that meet them.

DuckDB evaluates them over columns that are already in memory. It opens no file, so a condition can only choose rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

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
        # Threads must not share a cursor.
        connection = self._connection.cursor()
        condition = understood(connection, where, self._columns.names, owner="the gallery's rows", budget=budget)
        for _, table in self._columns.blocks(condition.columns):
            yield chosen_rows(connection, condition, table, missing, budget)
            budget.renew()

    @cached_property
    def _connection(self) -> DuckDBPyConnection:
        return locked_duckdb()


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
