"""SQL conditions over a gallery's metadata → rows.

DuckDB reads the files of metadata and nothing else; all that a condition can do is choose rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..datasets.conditions import identifier, line, locked_duckdb, meeting, text, what_is_wrong
from ..datasets.types import InputError
from .manifest import Manifest
from .parts import COLUMNS, REMEDY, metadata_path

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# The columns of a part and their types, in their order; null is the type of a column that has no value.
_Kinds: TypeAlias = "tuple[tuple[str, pa.DataType], ...]"

# All types that parts are written with.
_SQL = {
    pa.bool_(): "BOOLEAN",
    pa.int64(): "BIGINT",
    pa.uint64(): "UBIGINT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
}
# Files of one query: with many threads DuckDB has nearly all of them open, and a process may usually have 1024.
_FILES = 256
# What a row is found by, under names that no field of a sample has.
_FILE, _PART, _ROW = "_diantu_file", "_diantu_part", "_diantu_row"


def matching_rows(root: Path, manifest: Manifest, conditions: Sequence[str]) -> list[np.ndarray]:
    """The rows that meet each of some SQL conditions over the metadata, such as `width >= 512 AND punsafe < 0.1`.

    A row for which a condition is neither true nor false, since a value is missing, does not meet it; `punsafe < 0.1
    OR punsafe IS NULL` takes it in. A field that only some parts have is missing in the others. Deleted rows are
    found like all others.

    Returns:
        For each condition the row ids, int64, ascending.

    Raises:
        InputError: if a condition is not one SQL expression over the metadata's columns, or metadata is damaged.
    """
    alike = _alike(root, manifest)
    columns = _columns(list(alike))
    queries = [query for kinds, numbers in alike.items() for query in _queries(root, kinds, numbers, columns)]
    first_rows = _first_rows(manifest)
    found = []
    with locked_duckdb("allowed_directories", [f"{root / 'metadata'}/"]) as connection:
        for where in conditions:
            rows = [np.zeros(0, np.int64)]
            for query in queries:
                parts_N, rows_N = _matching(connection, query, where, list(columns))
                rows.append(first_rows[parts_N] + rows_N)
            found.append(np.sort(np.concatenate(rows)))
    return found


def _first_rows(manifest: Manifest) -> np.ndarray:
    """The row id of each part's first row, by the part's number."""
    first_rows = np.zeros(max((number for number, _ in manifest.parts), default=0) + 1, np.int64)
    first = 0
    for number, count in manifest.parts:
        first_rows[number] = first
        first += count
    return first_rows


def _alike(root: Path, manifest: Manifest) -> dict[_Kinds, list[int]]:
    """The numbers of parts that have rows, by the columns of their metadata: those that are alike are read together."""
    alike: dict[_Kinds, list[int]] = {}
    for number, count in manifest.parts:
        if count:
            alike.setdefault(_kinds(metadata_path(root, number), count), []).append(number)
    return alike


def _kinds(path: Path, count: int) -> _Kinds:
    try:
        footer = pq.read_metadata(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} is damaged ({error}); {REMEDY}") from error
    if footer.num_rows != count:
        raise InputError(f"{path} holds {footer.num_rows} rows, {count} were written; {REMEDY}")
    fields = enumerate(footer.schema.to_arrow_schema())
    return tuple((field.name, pa.null() if _is_empty(footer, i, field) else field.type) for i, field in fields)


def _is_empty(footer: pq.FileMetaData, position: int, field: pa.Field) -> bool:
    """Whether a field of samples has no value in a part: it was written as text then, whatever it is in the others."""
    if field.name in COLUMNS or field.type != pa.string():
        return False
    for i in range(footer.num_row_groups):
        statistics = footer.row_group(i).column(position).statistics
        if statistics is None or statistics.null_count < footer.row_group(i).num_rows:
            return False
    return True


def _columns(tables: Sequence[_Kinds]) -> dict[str, str]:
    """All columns and their SQL types; like SQL it makes no difference between upper and lower case."""
    names: dict[str, str] = {}
    kinds: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for name, kind in table:
            names.setdefault(name.lower(), name)
            kinds.setdefault(name.lower(), set()).add(kind)
    return {name: _sql_type(kinds[lower]) for lower, name in names.items()}


def _sql_type(kinds: set[pa.DataType]) -> str:
    """The narrowest type that holds the values of all parts, as within a part."""
    kinds = kinds - {pa.null()}
    if len(kinds) == 1:
        return _SQL[next(iter(kinds))]
    return "DOUBLE" if kinds == {pa.int64(), pa.float64()} else "VARCHAR"


def _queries(root: Path, kinds: _Kinds, numbers: Sequence[int], columns: dict[str, str]) -> Iterator[str]:
    """SQL that gives all columns of some parts that are alike, and their rows' numbers."""
    own = {name.lower(): identifier(name) for name, kind in kinds if kind != pa.null()}
    chosen = [f"{own.get(name.lower(), 'NULL')}::{kind} AS {identifier(name)}" for name, kind in columns.items()]
    options = "file_row_number = true, hive_partitioning = false"
    # Where DuckDB 1 gives the paths of files, it takes a condition on a field `filename` for one on them.
    has_field = "filename" in own
    step = 1 if has_field else _FILES
    for start in range(0, len(numbers), step):
        files = ", ".join(text(str(metadata_path(root, number))) for number in numbers[start : start + step])
        if has_field:
            part, source = f"{numbers[start]}", f"read_parquet({files}, {options})"
        else:  # the number is in the path: metadata_00012.parquet
            part, source = f"substr({_FILE}, -13, 5)", f"read_parquet([{files}], {options}, filename = {text(_FILE)})"
        yield f"SELECT {', '.join(chosen)}, {part}::INTEGER AS {_PART}, file_row_number AS {_ROW} FROM {source}"


def _matching(
    connection: DuckDBPyConnection, query: str, where: str, columns: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Part numbers, and rows within the parts, of the rows of a query that meet a condition."""
    import duckdb

    try:
        found = meeting(connection.sql(query), where).project(f"{_PART}, {_ROW}").fetchnumpy()
    except duckdb.Error as error:
        # What is wrong with a condition has a class of its own; what the reader of parquet stumbles over has none.
        if type(error) in (duckdb.Error, duckdb.IOException) or "Failed to read file" in str(error):
            raise InputError(f"metadata is damaged ({line(error)}); {REMEDY}") from error
        raise InputError(what_is_wrong(where, columns, error, owner="the gallery's rows")) from error
    return found[_PART], found[_ROW]
