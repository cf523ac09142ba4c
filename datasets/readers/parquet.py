"""Parquet files that hold the images themselves: img2dataset's, Hugging Face's, or any with a column of bytes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import Reason, SampleError, ShardError, first_line
from ..names import NAMES, find_column
from ..places import resolve
from ..types import Entry, Failure, Place, Scan, Shard, Span
from ..values import holds_bytes, plain_column
from .reader import Reader

log = logging.getLogger(__name__)

_FORMAT = "parquet"
# What pyarrow raises for a page that is damaged.
_UNREADABLE = (pa.ArrowException, OSError)


def scan(shard: Shard) -> Scan:
    """Lists a file's rows, one row group after the other, without reading an image.

    Images are a column of bytes, or Hugging Face's `struct<bytes, path>`. A key is the column `key` (or `__key__`,
    `id`, `uid`, `image_id`) if it names every row and no two alike, else the file's name and the row; then the column
    stays metadata. img2dataset's rows of failed downloads are failures. Further columns of bytes are left out, with a
    warning, and so is a column of a row group that is damaged.

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
        SampleError: if the images of its row group are damaged.
    """
    column, _, number = (span.member or "").rpartition("/")
    try:
        row = int(number)
        with _opened(span.uri) as file:
            ends = _row_group_ends(file.metadata)
            group = next(i for i, end in enumerate(ends) if row < end)
            first = ends[group] - file.metadata.row_group(group).num_rows
    except (ShardError, StopIteration, IndexError, ValueError) as error:
        raise OSError(f"{span.uri} has no row {number} that can be read") from error
    try:
        return _bytes_of(_row_group(span.uri, group, column)[row - first].as_py())
    except KeyError as error:
        raise OSError(f"{span.uri} has no column {column!r} with the row {number}") from error
    except _UNREADABLE as error:
        _raise_unless_damage(error)
        detail = f"row group {group} of {span.uri} is damaged: {first_line(error)}"
        raise SampleError(Reason.UNREADABLE, detail) from error


def locate(place: Place) -> Span:
    """The image is the cell that its path names."""
    return _span(place.shard, place.image_path)


def _span(uri: str, cell: str) -> Span:
    return Span(uri=uri, member=cell, format=_FORMAT)


def _opened(uri: str, **options: Any) -> pq.ParquetFile:
    try:
        filesystem, path = resolve(uri)
        return pq.ParquetFile(path, filesystem=filesystem, page_checksum_verification=True, **options)
    except pa.ArrowException as error:
        raise ShardError(f"{uri} is not a parquet file: {first_line(error)}") from error
    except OSError as error:
        if not _is_damage(error):
            raise
        raise ShardError(f"{uri} is not a parquet file: {first_line(error)}") from error


def _is_damage(error: Exception) -> bool:
    """Whether Arrow could not decode what it read; an error of the system has a number, and may pass."""
    return not isinstance(error, OSError) or (type(error) is OSError and error.errno is None)


@lru_cache(maxsize=1)
def _row_group(uri: str, group: int, column: str) -> pa.ChunkedArray:
    """The images of one row group. Samples are read in order, so the group read last is needed again."""
    with _opened(uri) as file:
        leaf = _images(file, group, column).path_in_schema
    # Each value once: a file of 50 KB can say "the image of the first row" 20 000 times.
    with _opened(uri, read_dictionary=[leaf]) as file:
        return file.read_row_group(group, columns=[column])[column]


def _row_group_ends(metadata: pq.FileMetaData) -> list[int]:
    ends = [0]
    for group in range(metadata.num_row_groups):
        ends.append(ends[-1] + metadata.row_group(group).num_rows)
    return ends[1:]


def _entries(shard: Shard, column: str, failures: list[Failure]) -> Iterator[Entry]:
    stem = shard.uri.rpartition("/")[2].rpartition(".")[0]
    row = found = 0
    with _opened(shard.uri) as file:
        others = _further_columns(shard, file.schema_arrow, column)
        key_column, keys = _keys(shard, file, others)
        for group in range(file.num_row_groups):
            records = _records(shard, file, group, [name for name in others if name != key_column])
            for record, has_image in zip(records, _present(shard.uri, file, group, column), strict=True):
                key = keys[row] if keys else f"{stem}_{row:08d}"
                if has_image:
                    cell = f"{column}/{row}"
                    yield Entry(key=key, row=found, image_path=cell, image=_span(shard.uri, cell), metadata=record)
                    found += 1
                else:
                    message = record.get("error_message")
                    detail = "the row has no image" if message in (None, "") else str(message)
                    failures.append(_failure(shard, key, Reason.NO_IMAGE, detail))
                row += 1


def _further_columns(shard: Shard, schema: pa.Schema, image: str) -> list[str]:
    """The columns that become metadata, each name once."""
    others = [field for field in schema if field.name != image]
    left_out = sorted({field.name for field in others if _is_left_out(field.type)})
    if left_out:
        log.warning("%s: columns of bytes are left out: %s", shard.uri, ", ".join(left_out))
    return list(dict.fromkeys(field.name for field in others if not _is_left_out(field.type)))


def _is_left_out(kind: pa.DataType) -> bool:
    return holds_bytes(kind) or _holds_bytes(kind)


def _keys(shard: Shard, file: pq.ParquetFile, columns: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The first column of keys that gives every row a key of its own, and the keys; (None, ()) if there is none.

    Decided from the whole column, before any row is used, so that no row is lost to a second one of the same key.
    """
    # In the exact case: rows of an `ID` in capitals have been given keys of their own, and must keep them.
    for name in (name for name in NAMES["key"] if name in columns):
        if file.schema_arrow.names.count(name) > 1:
            continue
        try:
            values = plain_column(file.read(columns=[name])[name])
        except _UNREADABLE as error:
            _raise_unless_damage(error)
            continue
        keys = [str(value) for value in values if value not in (None, "") and not isinstance(value, list)]
        if len(keys) == len(values) == len(set(keys)):
            return name, keys
        log.warning("%s: the column %s is not used for keys, because values are missing or repeat", shard.uri, name)
    return None, ()


def _records(shard: Shard, file: pq.ParquetFile, group: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """The metadata of a row group, row by row, with the columns' names; a second one of a name is `table_<name>`."""
    columns: dict[str, list[Any]] = {}
    for name, values in _columns(shard, file, group, names):
        while name in columns:
            name = f"table_{name}"
        columns[name] = values
    rows = zip(*columns.values(), strict=True) if columns else ((),) * file.metadata.row_group(group).num_rows
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _columns(shard: Shard, file: pq.ParquetFile, group: int, names: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    """The columns of a row group that can be read; if one cannot, each is read by itself."""
    try:
        tables = [file.read_row_group(group, columns=list(names))]
    except _UNREADABLE as error:
        _raise_unless_damage(error)
        tables = list(_one_by_one(shard, file, group, names))
    wanted = set(names)
    for table in tables:
        for name, column in zip(table.column_names, table.columns, strict=True):
            # Reading `a.b` also reads a field b of a column a, and names may repeat.
            if name in wanted and not _is_left_out(column.type):
                try:
                    yield name, plain_column(column)
                except (*_UNREADABLE, ValueError, NotImplementedError) as error:
                    log.warning("%s: the column %s is left out: %s", shard.uri, name, first_line(error))


def _one_by_one(shard: Shard, file: pq.ParquetFile, group: int, names: Sequence[str]) -> Iterator[pa.Table]:
    for name in names:
        try:
            yield file.read_row_group(group, columns=[name])
        except _UNREADABLE as error:
            _raise_unless_damage(error)
            log.warning(
                "%s: the column %s is damaged and left out in row group %d: %s",
                shard.uri, name, group, first_line(error),
            )  # fmt: skip


def _raise_unless_damage(error: Exception) -> None:
    if not _is_damage(error):
        raise error


def _failure(shard: Shard, key: str, reason: Reason, detail: str) -> Failure:
    return Failure(key=key, shard=shard.uri, reason=reason, detail=detail)


def _image_column(schema: pa.Schema) -> str | None:
    of_bytes = [field.name for field in schema if _holds_bytes(field.type)]
    return find_column(of_bytes, "image") or (of_bytes[0] if len(of_bytes) == 1 else None)


def _holds_bytes(kind: pa.DataType) -> bool:
    """Whether a column may hold images: bytes, or a struct with a field `bytes`."""
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_bytes(field.type) for field in kind)
    return _is_bytes(kind)


def _is_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):  # values that repeat, each stored once
        return _is_bytes(kind.value_type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)


def _present(uri: str, file: pq.ParquetFile, group: int, column: str) -> list[bool]:
    """Which rows of a row group have an image. Reads the images only if the statistics say that some are missing.

    Where that shows that images are damaged, every row counts as having one: reading it says what is wrong.
    """
    metadata = file.metadata.row_group(group)
    images = _images(file, group, column)
    if images.statistics is not None and images.statistics.null_count == 0:
        return [True] * metadata.num_rows
    try:
        return [bool(_bytes_of(value.as_py())) for value in _row_group(uri, group, column)]
    except _UNREADABLE as error:
        _raise_unless_damage(error)
        return [True] * metadata.num_rows


def _images(file: pq.ParquetFile, group: int, column: str) -> pq.ColumnChunkMetaData:
    """The images of a row group as they are stored; Hugging Face's are a field of a struct. KeyError if none are."""
    metadata = file.metadata.row_group(group)
    for chunk in (metadata.column(i) for i in range(metadata.num_columns)):
        if chunk.path_in_schema in (column, f"{column}.bytes"):
            return chunk
    raise KeyError(column)


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, dict):
        value = value.get("bytes")
    return b"" if value is None else value


# img2dataset writes a parquet file beside each tar and each folder of images, which is no shard then.
READER = Reader(format=_FORMAT, endings=(".parquet",), scan=scan, read=read, locate=locate, counts_beside_others=False)
