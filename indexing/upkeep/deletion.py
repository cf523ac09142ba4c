"""Deletes rows by tombstones in `deleted.npy`. Parts, metadata, index and row ids do not change.

A deletion has its own lock, so that it does not wait for a job that runs for days.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...datasets.checksums import settle, write_checked
from ...datasets.conditions import WHERE_SECONDS
from ...datasets.errors import InputError
from ...datasets.files import exclusive
from ..store.columns import Columns
from ..store.filters import matching_rows
from ..store.layout import DELETED, DELETION_LOCK
from ..store.records import check_parts
from ..store.snapshot import Snapshot
from ..store.tombstones import read_deleted

# A deletion holds its lock only while it writes a file; a compaction holds it much longer.
PATIENCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What a deletion did.

    Attributes:
        num_deleted: rows that are newly deleted.
        num_already: matching rows that were deleted before.
        num_rows: rows that are left in the gallery.
        unknown_keys: the given keys that no row has, in the order given.
    """

    num_deleted: int
    num_already: int
    num_rows: int
    unknown_keys: tuple[str, ...] = ()


def delete(
    root: str | Path,
    *,
    where: str | None = None,
    keys: Sequence[str] | None = None,
    dry_run: bool = False,
    where_timeout: float = WHERE_SECONDS,
) -> Deleted:
    """Deletes rows from a gallery permanently: embedding their shards again does not bring them back.

    Args:
        root: the gallery's folder.
        where: a SQL condition over the metadata; see `matching_rows` for missing values.
        keys: keys; every row that has one of them is deleted.
        dry_run: count the rows without deleting them.
        where_timeout: seconds that the condition may take for each million rows.

    Raises:
        InputError: if not exactly one of `where` and `keys` is given, the condition cannot be used, there is no
            gallery, or it is being compacted.
    """
    root = Path(root)
    if (where is None) == (keys is None) or isinstance(keys, str):
        raise InputError("a deletion needs either a condition (where) or a list of keys (keys); give one of them")
    snapshot = Snapshot.read(root, with_committed=True)
    # Damaged metadata would delete other rows than those that are meant.
    check_parts(root, (number for number, _ in snapshot.manifest.parts), ["metadata"])
    if where is not None:
        (rows_N,), unknown = matching_rows(snapshot, [where], where_timeout=where_timeout), ()
    else:
        rows_N, unknown = _rows_with_keys(snapshot, list(dict.fromkeys(keys or ())))
    with nullcontext() if dry_run else exclusive(root, DELETION_LOCK, patience=PATIENCE_SECONDS):
        if not dry_run:
            settle(root)
        before_N = read_deleted(root)
        after_N = np.union1d(before_N, rows_N)
        num_deleted = len(after_N) - len(before_N)
        if num_deleted and not dry_run:
            write_checked(root, DELETED, _npy_bytes(after_N))
    return Deleted(
        num_deleted=num_deleted,
        num_already=len(rows_N) - num_deleted,
        num_rows=snapshot.num_rows - int(np.searchsorted(after_N, snapshot.num_rows)),
        unknown_keys=unknown,
    )


def _npy_bytes(array: np.ndarray) -> bytes:
    """An array as the content of a `.npy` file. numpy's own writing reports a full disk without saying so."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _rows_with_keys(snapshot: Snapshot, keys: list[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """The rows that have one of the keys, ascending, and the keys that no row has."""
    wanted = pa.array(keys, pa.string())
    rows = [np.zeros(0, np.int64)]
    found: set[str] = set()
    for first, table in Columns(snapshot).blocks(["key"]):
        column_N = table["key"].cast(pa.string())  # it may be dictionaries
        is_wanted_N = pc.call_function("is_in", [column_N], pc.SetLookupOptions(wanted))
        rows.append(first + np.flatnonzero(is_wanted_N.to_numpy()))
        found.update(column_N.filter(is_wanted_N).to_pylist())
    return np.concatenate(rows), tuple(key for key in keys if key not in found)
