"""Writes `columns_00000.parquet` and `texts_00000.arrow`, which conditions read whole columns of quickly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .text_file import TextWriter

# A column of text whose first rows have at most one value per so many rows becomes a dictionary and numbers. DuckDB
# compares each value of a dictionary once, and a row takes 4 bytes in memory.
_ROWS_PER_VALUE = 16
# Texts that are seldom in a condition, and that compression makes three to four times as small.
_COMPRESSED = ("key", "shard", "image_path", "url")
# Other texts that take at most so many bytes in the first rows, on average, are not compressed: captions are.
_MAPPED_BYTES = 256


class ColumnFile:
    """A new file of columns, and one of texts beside it. Its first rows decide how each column is encoded."""

    def __init__(self, path: Path, texts_path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._texts_path = texts_path
        self._schema = schema
        self._writers: tuple[pq.ParquetWriter, TextWriter] | None = None
        self.texts: list[str] = []  # the columns that are in the file of texts; known when the file is closed

    def write(self, table: pa.Table) -> None:
        """Writes some rows, which become a row group, and a record batch of texts."""
        columns, texts = self._writers = self._writers or self._opened(table)
        encoded = [_encoded(table[field.name], field.type) for field in columns.schema]
        columns.write_table(pa.table(encoded, columns.schema), row_group_size=len(table))
        texts.write(table)

    def close(self) -> None:
        """Completes the files, which have columns even where they have no rows."""
        for writer in self._writers or self._opened(self._schema.empty_table()):
            writer.close()

    def _opened(self, table: pa.Table) -> tuple[pq.ParquetWriter, TextWriter]:
        kinds = {field.name: _kind(table[field.name]) for field in self._schema}
        texts = {name for name, kind in kinds.items() if kind == pa.string()}
        self.texts = mapped = [name for name in kinds if name in texts and _is_mapped(name, table[name])]
        schema = pa.schema([(name, kind) for name, kind in kinds.items() if name not in mapped])
        others = {_leaf(field) for field in schema} - texts
        # Long texts seldom repeat: a dictionary would be given up in each row group. LZ4 takes a few more bytes per row
        # than zstd, and far less time to decompress.
        options: dict[str, Any] = {
            "use_dictionary": sorted(others),
            "compression": {**dict.fromkeys(others, "zstd"), **dict.fromkeys(texts.difference(mapped), "lz4")},
        }
        columns = pq.ParquetWriter(self._path, schema, write_page_checksum=True, **options)
        return columns, TextWriter(self._texts_path, mapped)


def _kind(column: pa.ChunkedArray) -> pa.DataType:
    """The type that a column has in the file."""
    if column.type != pa.string():
        return column.type
    num_values = pc.call_function("count_distinct", [column]).as_py()
    return pa.dictionary(pa.int32(), pa.string()) if _ROWS_PER_VALUE * num_values <= len(column) else pa.string()


def _is_mapped(name: str, column: pa.ChunkedArray) -> bool:
    """Whether a column of texts that seldom repeat is in the file of texts."""
    return name not in _COMPRESSED and column.nbytes <= _MAPPED_BYTES * len(column)


def _encoded(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column.dictionary_encode() if pa.types.is_dictionary(kind) else column


def _leaf(field: pa.Field) -> str:
    """The name that parquet has for the values of a column."""
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
