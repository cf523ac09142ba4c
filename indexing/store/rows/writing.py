"""Parts → segments of the row store. New parts become new segments; small segments before them are joined with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import pyarrow as pa

from ....datasets.checksums import Checksum
from ....datasets.errors import InputError
from ....datasets.files import replacing, writing
from ..fields import Field, fields_of_part, types_in_common
from ..layout import ROWS, metadata_path
from ..manifest import Manifest
from ..metadata_file import opened_metadata
from ..records import check_file
from ..tables import COLUMNS
from .column_file import ColumnFile
from .lines import LineSchema, line_schema, lines
from .segments import (
    Segment,
    SegmentPart,
    SegmentRecord,
    columns_name,
    lines_name,
    metadata_sha256,
    offsets_name,
    read_record,
    read_segments,
    record_name,
    texts_name,
    write_segments,
)

# A segment of so many rows is complete: its columns are read in one go, and joining costs at most so many rows.
SEGMENT_ROWS = 1 << 20
# A segment that has at most this many times the rows that come after it is joined with them. So adding a few rows
# rewrites few rows, and the number of segments grows with the logarithm of the number of additions.
_JOINED = 4
# Rows that are read and written together; also the row groups of the columns file.
_BATCH = 1 << 16
# The row store's size, in sizes of the parts' metadata, which are compressed.
_TIMES_PARTS = 5


def lay_out_rows(
    root: Path, manifest: Manifest, *, on_rows: Callable[[int], object] = lambda count: None
) -> list[Segment]:
    """Brings the row store of a gallery up to date, while the job lock is held. Its present readers are not disturbed.

    A store that a killed job has begun is completed; one that is up to date stays as it is. The files of segments that
    were replaced stay until `remove_replaced_rows`, for readers that have the older list.

    Args:
        root: the gallery's folder.
        manifest: its parts.
        on_rows: called with the number of rows that were written since the last call.

    Returns:
        The segments, which hold all rows together.

    Raises:
        InputError: if metadata is damaged.
        TypeError: if a column has a type that a line cannot hold.
    """
    kept, first = _to_keep(root, manifest)
    segments = list(kept)
    for parts in _runs(manifest.parts[first:]):
        number = max((segment.number for segment in segments), default=-1) + 1
        while (root / record_name(number)).exists():  # readers may still need the segments that are replaced
            number += 1
        segments.append(_write(root, number, parts, on_rows))
    if segments != kept or not (root / ROWS).exists():
        write_segments(root, segments)
    return segments


def estimated_bytes(root: Path, manifest: Manifest) -> int:
    """About what `lay_out_rows` will write if there is no row store yet."""
    return _TIMES_PARTS * sum(metadata_path(root, number).stat().st_size for number, rows in manifest.parts if rows)


def drop_rows(root: Path) -> None:
    """Makes a gallery have no row store, while the job lock is held; `remove_replaced_rows` removes the files."""
    if (root / ROWS).exists():
        write_segments(root, [])


def remove_replaced_rows(root: Path, manifest: Manifest) -> None:
    """Removes the files of segments that the list does not name, while the job lock is held."""
    segments = read_segments(root, manifest)
    names = (lines_name, offsets_name, columns_name, texts_name, record_name)
    wanted = {root / name(segment.number) for segment in segments for name in names} | {root / ROWS}
    for path in sorted((root / ROWS).parent.glob("*")):
        if path not in wanted:
            with writing(path):
                path.unlink(missing_ok=True)


def _to_keep(root: Path, manifest: Manifest) -> tuple[list[Segment], int]:
    """The segments that stay, and the position of the first part that they do not hold."""
    try:
        segments = read_segments(root, manifest)
    except InputError:  # the new list replaces the damaged one
        segments = []
    kept: list[Segment] = []
    for segment in segments:
        if not _is_whole(root, segment):
            break
        kept.append(segment)
    following = manifest.num_rows - sum(segment.num_rows for segment in kept)
    while following and kept and kept[-1].num_rows < SEGMENT_ROWS and kept[-1].num_rows <= _JOINED * following:
        following += kept.pop().num_rows
    return kept, sum(segment.num_parts for segment in kept)


def _is_whole(root: Path, segment: Segment) -> bool:
    """Whether the files of a segment are there and hold the present metadata of its parts."""
    try:
        record = read_record(root, segment.number)
        sizes = {name: (root / name).stat().st_size for name in record.files}
        return all(sizes[name] == entry["bytes"] for name, entry in record.files.items()) and all(
            part.is_current(root) for part in record.parts
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _runs(parts: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Consecutive parts that make a segment together."""
    run: list[tuple[int, int]] = []
    num_rows = 0
    for part in parts:
        run.append(part)
        num_rows += part[1]
        if num_rows >= SEGMENT_ROWS:
            yield run
            run, num_rows = [], 0
    if run:
        yield run


def _write(root: Path, number: int, parts: Sequence[tuple[int, int]], on_rows: Callable[[int], object]) -> Segment:
    """Writes a segment, its record last."""
    fields = {part: fields_of_part(root, part, rows) for part, rows in parts if rows}
    kinds, mixed = _kinds(list(fields.values()))
    schemas: dict[LineSchema, int] = {}
    listed: list[SegmentPart] = []
    paths = [root / name(number) for name in (lines_name, offsets_name, columns_name, texts_name)]
    with ExitStack() as stack:
        temporaries = [stack.enter_context(replacing(path)) for path in paths]
        writer = stack.enter_context(_Writer(temporaries, kinds))
        for part, num_rows in parts:
            path = metadata_path(root, part)
            schema = _copy(root, part, path, writer, fields[part], on_rows) if num_rows else ()
            position = schemas.setdefault(schema, len(schemas))
            sha256 = metadata_sha256(root, part) or ""
            listed.append(SegmentPart(number=part, num_rows=num_rows, sha256=sha256, schema=position))
    found = {path: Checksum.of_file(path).to_json() for path in paths}
    files = {path.relative_to(root).as_posix(): checksum for path, checksum in found.items()}
    record = SegmentRecord(
        parts=tuple(listed),
        schemas=tuple(schemas),
        mixed=frozenset(mixed),
        texts=frozenset(writer.texts),
        files=files,
    )
    record.save(root, number)
    num_bytes = sum(entry["bytes"] for entry in files.values()) + (root / record_name(number)).stat().st_size
    return Segment(number=number, num_parts=len(parts), num_rows=sum(rows for _, rows in parts), num_bytes=num_bytes)


def _kinds(parts: Sequence[dict[str, Field]]) -> tuple[dict[str, pa.DataType], set[str]]:
    """The type of each column that has one type in all parts, by name in lower case; and the other columns."""
    types, mixed = types_in_common({name: field.type for name, field in fields.items()} for fields in parts)
    empty = {name: COLUMNS.get(name, pa.string()) for name, kind in types.items() if kind == pa.null()}
    return {**types, **empty}, mixed


def _copy(
    root: Path,
    part: int,
    path: Path,
    writer: _Writer,
    fields: dict[str, Field],
    on_rows: Callable[[int], object],
) -> LineSchema:
    """Copies the metadata of a part, a bounded number of rows at a time; returns its columns as they are written."""
    check_file(root, part, path, most=None)  # otherwise damage would get a new checksum
    with opened_metadata(path) as file:
        for batch in file.iter_batches(_BATCH, use_threads=False):
            writer.add(pa.table(batch), fields)
            on_rows(len(batch))
        return line_schema(file.schema_arrow)


class _Writer:
    """Writes the lines, their offsets and the columns of a segment, as rows come."""

    def __init__(self, paths: Sequence[Path], kinds: dict[str, pa.DataType]) -> None:
        lines_path, self._offsets_path, columns_path, texts_path = paths
        self._schema = pa.schema(list(kinds.items()))
        self._lines: IO[bytes] = lines_path.open("wb")
        self._columns = ColumnFile(columns_path, texts_path, self._schema)
        self._lengths: list[np.ndarray] = [np.zeros(1, np.int64)]
        self._waiting: list[pa.Table] = []
        self._num_waiting = 0

    def __enter__(self) -> _Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lines, closing(self._columns):
            if error is None:
                self._flush()
                # Not np.save to a path: it would append `.npy` to a temporary name.
                with self._offsets_path.open("wb") as file:
                    np.save(file, np.cumsum(np.concatenate(self._lengths)), allow_pickle=False)

    @property
    def texts(self) -> list[str]:
        """The columns that are in the file of texts; known at the end."""
        return self._columns.texts

    def add(self, table: pa.Table, fields: dict[str, Field]) -> None:
        """Writes some rows of a part that has these fields."""
        written = [self._lines.write(line) for line in lines(table)]
        self._lengths.append(np.array(written, np.int64))
        columns = [self._column(table, fields.get(field.name), field.type) for field in self._schema]
        self._waiting.append(pa.table(columns, schema=self._schema))
        self._num_waiting += len(table)
        if self._num_waiting >= _BATCH:
            self._flush()

    @staticmethod
    def _column(table: pa.Table, field: Field | None, kind: pa.DataType) -> pa.ChunkedArray:
        if field is None or field.type == pa.null():
            return pa.chunked_array([pa.nulls(len(table), kind)])
        return table[field.name].cast(kind)

    def _flush(self) -> None:
        if self._num_waiting:
            self._columns.write(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting, self._num_waiting = [], 0
