"""Writes `columns_00000.parquet`, in an encoding that is decoded quickly: a condition reads a column of all rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# A column of text whose first rows have at most one value per so many rows becomes a dictionary and numbers. DuckDB
# compares each value of a dictionary once, and a row takes 4 bytes in memory.
_ROWS_PER_VALUE = 16


class ColumnFile:
    """A new file of columns. Its first rows decide how each column is encoded."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Writes some rows, which become a row group."""
        if self._writer is None:
            self._writer = self._opened(table)
        columns = [_encoded(table[field.name], field.type) for field in self._writer.schema]
        self._writer.write_table(pa.table(columns, self._writer.schema), row_group_size=len(table))

    def close(self) -> None:
        """Completes the file, which has columns even where it has no rows."""
        if self._writer is None:
            self._writer = self._opened(self._schema.empty_table())
        self._writer.close()

    def _opened(self, table: pa.Table) -> pq.ParquetWriter:
        schema = pa.schema([(field.name, _kind(table[field.name])) for field in self._schema])
        texts = {field.name for field in schema if field.type == pa.string()}
        others = {_leaf(field) for field in schema} - texts
        # Long texts seldom repeat: a dictionary would be given up in each row group. LZ4 takes a few more bytes per row
        # than zstd, and far less time to decompress.
        options: dict[str, Any] = {
            "use_dictionary": sorted(others),
            "compression": {**dict.fromkeys(others, "zstd"), **dict.fromkeys(texts, "lz4")},
        }
        return pq.ParquetWriter(self._path, schema, write_page_checksum=True, **options)


def _kind(column: pa.ChunkedArray) -> pa.DataType:
    """The type that a column has in the file."""
    if column.type != pa.string():
        return column.type
    num_values = pc.call_function("count_distinct", [column]).as_py()
    return pa.dictionary(pa.int32(), pa.string()) if _ROWS_PER_VALUE * num_values <= len(column) else pa.string()


def _encoded(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column


def _leaf(field: pa.Field) -> str:
    """The name that parquet has for the values of a column."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
