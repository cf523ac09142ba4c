"""Parquet files that hold the images themselves: img2dataset's, Hugging Face's, or any with a column of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import Reason, ShardError
from ..names import NAMES, find_column
from ..places import resolve
from ..types import Entry, Failure, Place, Scan, Shard, Span
from .reader import Reader

_FORMAT = "parquet"


def scan(shard: Shard) -> Scan:
    """Lists a file's rows, one row group after the other, without reading an image.

    Images are a column of bytes, or Hugging Face's `struct<bytes, path>`. A key is the column `key` (or `__key__`,
    `id`, `uid`, `image_id`), else the file's name and the row. img2dataset's rows of failed downloads are failures.

    Raises:
        ShardError: if the file is no parquet file, or has no column of images.
    """
    with _opened(shard.uri) as file:
        schema = file.schema_arrow
        column = _image_column(schema)
        if column is None:
            names = ", ".join(schema.names)
            raise ShardError(f"{shard.uri} has no column of images (bytes) among its columns: {names}")
        num_rows = file.metadata.num_rows
    failures: list[Failure] = []
    return Scan(entries=_entries(shard, column, failures), failures=failures, num_entries=num_rows)


def read(span: Span) -> bytes:
    """The bytes of one image, a cell whose name is `<column>/<row>`.

    Raises:
        OSError: if the file cannot be read or has no such cell.
    """
    column, _, number = (span.member or "").rpartition("/")
    try:
        row = int(number)
        with _opened(span.uri) as file:
            ends = _row_group_ends(file.metadata)
            group = next(i for i, end in enumerate(ends) if row < end)
            first = ends[group] - file.metadata.row_group(group).num_rows
        value = _row_group(span.uri, group, column)[row - first].as_py()
    except (ShardError, StopIteration, IndexError, KeyError, ValueError) as error:
        raise OSError(f"{span.uri} has no row {number} that can be read in a column {column!r}") from error
    return _bytes_of(value)


def locate(place: Place) -> Span:
    """The image is the cell that its path names."""
    return _span(place.shard, place.image_path)


def _span(uri: str, cell: str) -> Span:
    return Span(uri=uri, member=cell, format=_FORMAT)


def _opened(uri: str) -> pq.ParquetFile:
    try:
        filesystem, path = resolve(uri)
        return pq.ParquetFile(path, filesystem=filesystem)
    except pa.ArrowException as error:
        raise ShardError(f"{uri} is not a parquet file: {error}") from error


@lru_cache(maxsize=1)
def _row_group(uri: str, group: int, column: str) -> pa.ChunkedArray:
    """The images of one row group. Samples are read in order, so the group read last is needed again."""
    with _opened(uri) as file:
        return file.read_row_group(group, columns=[column])[column]


def _row_group_ends(metadata: pq.FileMetaData) -> list[int]:
    ends = [0]
    for group in range(metadata.num_row_groups):
        ends.append(ends[-1] + metadata.row_group(group).num_rows)
    return ends[1:]


def _entries(shard: Shard, column: str, failures: list[Failure]) -> Iterator[Entry]:
    stem = shard.uri.rpartition("/")[2].rpartition(".")[0]
    row = found = 0
    taken: set[str] = set()
    with _opened(shard.uri) as file:
        others = [field.name for field in file.schema_arrow if field.name != column and not _holds_bytes(field.type)]
        # In the exact case: rows of an `ID` in capitals have been given keys of their own, and must keep them.
        key_column = next((name for name in NAMES["key"] if name in others), None)
        for group in range(file.num_row_groups):
            records = file.read_row_group(group, columns=others).to_pylist()
            for record, has_image in zip(records, _present(file, group, column), strict=True):
                key = str(record.pop(key_column)) if key_column else f"{stem}_{row:08d}"
                if key in taken:
                    failures.append(_failure(shard, key, Reason.DUPLICATE_KEY, f"row {row} has the key of another row"))
                elif not has_image:
                    detail = str(record.get("error_message") or "the row has no image")
                    failures.append(_failure(shard, key, Reason.NO_IMAGE, detail))
                else:
                    cell = f"{column}/{row}"
                    yield Entry(key=key, row=found, image_path=cell, image=_span(shard.uri, cell), metadata=record)
                    found += 1
                taken.add(key)
                row += 1


def _failure(shard: Shard, key: str, reason: Reason, detail: str) -> Failure:
    return Failure(key=key, shard=shard.uri, reason=reason, detail=detail)


def _image_column(schema: pa.Schema) -> str | None:
    of_bytes = [field.name for field in schema if _holds_bytes(field.type)]
    return find_column(of_bytes, "image") or (of_bytes[0] if len(of_bytes) == 1 else None)


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in kind)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _present(file: pq.ParquetFile, group: int, column: str) -> list[bool]:
    """Which rows of a row group have an image. Reads the images only if the statistics say that some are missing."""
    metadata = file.metadata.row_group(group)
    chunks = (metadata.column(i) for i in range(metadata.num_columns))
    images = next(chunk for chunk in chunks if chunk.path_in_schema in (column, f"{column}.bytes"))
    if images.statistics is not None and images.statistics.null_count == 0:
        return [True] * metadata.num_rows
    return [bool(_bytes_of(value.as_py())) for value in file.read_row_group(group, columns=[column])[column]]


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, dict):
        value = value.get("bytes")
    return value or b""


# img2dataset writes a parquet file beside each tar and each folder of images, which is no shard then.
READER = Reader(format=_FORMAT, endings=(".parquet",), scan=scan, read=read, locate=locate, counts_beside_others=False)
