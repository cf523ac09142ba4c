"""Reads rows from the row store. What it lacks, or holds of a part that has changed, it leaves to the parts."""

from __future__ import annotations

import itertools
import logging
import mmap
import struct
from bisect import bisect_right
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ....datasets.errors import InputError, first_line
from ....datasets.files import open_regular
from ....datasets.recent import Recent
from ..npy import read_header
from ..snapshot import Snapshot
from .lines import Codec, DamagedLineError
from .segments import Segment, SegmentRecord, lines_name, offsets_name, read_record, read_segments, remedy

log = logging.getLogger(__name__)

# Segments that are held open, each of about a million rows. They are mapped, not read.
_OPEN_SEGMENTS = 256
_RANGE = struct.Struct("<qq")
_UNKNOWN, _CURRENT, _STALE = range(3)


class RowStore:
    """The row store of one snapshot. Opening reads a short list, and its memory is bounded. Threads may share it."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._root = snapshot.root
        try:
            self.segments = read_segments(snapshot.root, snapshot.manifest)
        except InputError as error:
            log.warning("%s; until then metadata is read from the parts", error)
            self.segments = []
        starts = itertools.accumulate((segment.num_rows for segment in self.segments), initial=0)
        *self._starts, self.num_rows = starts
        self._open: Recent[int, OpenSegment] = Recent(_OPEN_SEGMENTS, lambda _: 1)
        self._damaged: set[int] = set()

    def row(self, row: int, columns: Collection[str] | None) -> dict[str, Any] | None:
        """The metadata of a row, as its part has it; None where the store does not have it.

        Args:
            row: a row id of the gallery.
            columns: the names to return, as written; None returns all.
        """
        if row >= self.num_rows:
            return None
        position = bisect_right(self._starts, row) - 1
        segment = self.segment(position)
        if segment is None:
            return None
        try:
            return segment.row(row - self._starts[position], columns)
        except DamagedLineError as error:
            self._leave_out(position, error)
            return None

    def segment(self, position: int) -> OpenSegment | None:
        """A segment, by its position; None if it is damaged, or a job has removed it since the store was opened."""
        if position in self._damaged:
            return None
        if (found := self._open.get(position)) is None:
            try:
                found = OpenSegment(self._root, self.segments[position])
            except FileNotFoundError:  # a job has replaced it; this reader keeps its snapshot and reads the parts
                self._damaged.add(position)
                return None
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._leave_out(position, error)
                return None
            self._open.put(position, found)
        return found

    def _leave_out(self, position: int, error: Exception) -> None:
        """Leaves a damaged segment to the parts, which have the same values; says so once."""
        if position not in self._damaged:
            self._damaged.add(position)
            number = self.segments[position].number
            log.warning(
                "%s is damaged (%s), so metadata is read from the parts; %s",
                self._root / lines_name(number),
                first_line(error),
                remedy(self._root, number),
            )


class OpenSegment:
    """An open segment. Its lines stay readable when a job replaces it.

    Attributes:
        segment: its entry in the list.
        record: what it holds.
    """

    def __init__(self, root: Path, segment: Segment) -> None:
        """Maps the files.

        Raises:
            OSError: if a file cannot be read.
            ValueError: if a file is damaged.
        """
        self._root = root
        self.segment = segment
        self.record: SegmentRecord = read_record(root, segment.number)
        counts = [part.num_rows for part in self.record.parts]
        *self._firsts, num_rows = itertools.accumulate(counts, initial=0)
        if num_rows != segment.num_rows or len(counts) != segment.num_parts:
            raise ValueError("its record is that of another segment")
        self._codecs = [Codec.of(schema) for schema in self.record.schemas]
        self._states = bytearray(len(counts))
        self._lines, _ = self._mapped(lines_name(segment.number))
        self._offsets, self._first_offset = self._mapped(offsets_name(segment.number), is_array=True)

    def row(self, row: int, columns: Collection[str] | None) -> dict[str, Any] | None:
        """A row of the segment; see `RowStore.row`.

        Raises:
            DamagedLineError: if it is damaged.
        """
        part = bisect_right(self._firsts, row) - 1
        if not self.is_current(part):
            return None
        start, end = _RANGE.unpack_from(self._offsets, self._first_offset + 8 * row)
        codec = self._codecs[self.record.parts[part].schema]
        values = codec.decode(self._lines[start:end])
        if columns is None:
            return dict(zip(codec.names, values, strict=True))
        return {name: value for name, value in zip(codec.names, values, strict=True) if name in columns}

    @property
    def is_all_current(self) -> bool:
        """Whether all its parts still have the metadata that was laid out."""
        return all(self.is_current(part) for part in range(len(self._states)))

    def is_current(self, part: int) -> bool:
        """Whether a part, by its position in the segment, still has the metadata that was laid out."""
        if not self._states[part]:
            try:
                is_current = self.record.parts[part].is_current(self._root)
            except InputError:  # the record of the part is damaged, which reading from the part says
                is_current = False
            self._states[part] = _CURRENT if is_current else _STALE
        return self._states[part] == _CURRENT

    def _mapped(self, name: str, *, is_array: bool = False) -> tuple[mmap.mmap | bytes, int]:
        """A file in memory-mapped form, and where its values begin."""
        with open_regular(self._root / name) as file:
            size = file.seek(0, 2)
            if size != self.record.files[name]["bytes"]:
                raise ValueError(f"{name} has {size} bytes, {self.record.files[name]['bytes']} were written")
            file.seek(0)
            first = read_header(file).offset if is_array else 0
            if not size:
                return b"", 0
            mapped = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            mapped.madvise(mmap.MADV_RANDOM)  # a row is one page: what the system would read ahead is of no use
            return mapped, first
