"""SQL conditions over a gallery's metadata, and the rows that meet them.

DuckDB evaluates them over columns that are already in memory. It opens no file, so a condition can only choose rows.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import pyarrow as pa

from ...datasets.conditions import columns_of, locked_duckdb, not_understood
from ...datasets.errors import InputError, first_line
from .columns import Columns
from .duplicates import read_duplicates
from .rowset import RowSet
from .snapshot import Snapshot

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Missing: TypeAlias = Literal["exclude", "include"]
MISSING = ("exclude", "include")
# What decides for rows whose condition is neither true nor false because a value is missing.
_CHOSEN = {
    "exclude": ("CASE WHEN (", "\n) THEN true ELSE false END"),
    "include": ("CASE WHEN NOT (", "\n) THEN false ELSE true END"),
}
# Memory for answers that are kept: one takes 125 MB for a billion rows.
_KEPT_BYTES = 1 << 28
# Time for one condition over a million rows; then it is stopped.
_SECONDS = 30.0


class Filters:
    """Answers conditions over one snapshot; recent answers are kept. Threads may share it."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._kept: OrderedDict[tuple[str, str], RowSet] = OrderedDict()
        self._lock = threading.Lock()

    def rows(self, where: str, missing: Missing = "exclude") -> RowSet:
        """The rows that meet a SQL condition over the metadata, such as `width >= 512 AND punsafe < 0.1`.

        Deleted rows are found, too. A field that only some parts have counts as missing in the others.

        Args:
            where: one expression; see `datasets.conditions`.
            missing: what to do with rows for which the condition is neither true nor false because a value is missing:
                `exclude` them, as SQL does, or `include` them.

        Raises:
            InputError: if the condition cannot be used, or metadata is damaged.
        """
        if missing not in MISSING:
            raise InputError(f"missing {missing!r} is not known; missing values: {' or '.join(MISSING)}")
        with self._lock:
            if (kept := self._kept.get((where, missing))) is not None:
                self._kept.move_to_end((where, missing))
                return kept
        found = RowSet.of_mask(self._mask(where, missing))
        with self._lock:
            self._kept[where, missing] = found
            while len(self._kept) > max(1, _KEPT_BYTES // max(len(found.bits), 1 << 12)):
                self._kept.popitem(last=False)
        return found

    def _mask(self, where: str, missing: Missing) -> np.ndarray:
        """Which rows meet a condition: `N` bool."""
        if not self._columns.num_rows:
            return np.zeros(0, bool)  # a gallery without rows has no columns to check
        names = columns_of(self._connection, where, self._columns.names, owner="the gallery's rows")
        return np.concatenate([self._evaluated(table, where, missing) for _, table in self._columns.blocks(names)])

    def _evaluated(self, table: pa.Table, where: str, missing: Missing) -> np.ndarray:
        import duckdb

        connection = self._connection.cursor()  # threads must not share a cursor
        timer = threading.Timer(_SECONDS, connection.interrupt)
        timer.start()
        try:
            before, behind = _CHOSEN[missing]
            chosen = connection.from_arrow(table).project(f"{before}{where}{behind} AS chosen")
            return chosen.fetchnumpy()["chosen"]
        except duckdb.InterruptException as error:
            raise not_understood(where, f"it takes longer than {_SECONDS:.0f} s for {len(table)} rows") from error
        except duckdb.Error as error:
            raise not_understood(where, first_line(error)) from error
        finally:
            timer.cancel()

    @cached_property
    def _connection(self) -> DuckDBPyConnection:
        return locked_duckdb()


def matching_rows(snapshot: Snapshot, conditions: Sequence[str]) -> list[np.ndarray]:
    """The rows that meet each of some conditions, deleted rows included; see `Filters.rows`.

    Returns:
        For each condition the row ids, int64, ascending.

    Raises:
        InputError: if a condition cannot be used, or metadata is damaged.
    """
    filters = Filters(Columns(snapshot, read_duplicates(snapshot.root)))
    return [filters.rows(where).rows() for where in conditions]
