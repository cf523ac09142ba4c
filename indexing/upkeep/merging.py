"""Small parts → large ones, while a gallery is compacted. Rows keep their order, and values keep their types.

The first part of a group gets the rows of all; the others keep their commit records, without rows or files, because the
ledger has a number for each shard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from ...datasets.errors import InputError
from ..store.fields import fields_of_part, types_in_common
from ..store.parts import rows_of_file, write_files
from ..store.records import REMEDY, Part, read_part, verify_part, write_record
from ..store.tables import COLUMNS, npy_bytes, parquet_bytes

# Rows of a part that parts are joined to: a file of vectors of 100 MB at 512 dimensions.
MERGED_ROWS = 100_000


def groups_of(root: Path, parts: Iterable[tuple[int, int]], spaces: Collection[Path]) -> list[list[int]]:
    """The parts that become one part: consecutive ones, as long as their columns have the same types.

    Args:
        root: the gallery's folder.
        parts: number and rows of each part, in order, as they will be.
        spaces: the folders of the gallery's further spaces; only parts that have the same ones are joined.

    Returns:
        The numbers in each group of at least two parts.

    Raises:
        InputError: if metadata is damaged.
    """
    groups: list[list[int]] = []
    num_rows, types, places = 0, {}, None
    for number, rows in parts:
        if not rows:
            continue  # it has no place among the rows, and keeps its record
        own = _types(root, number)
        here = {space for space in spaces if read_part(space, number) is not None}
        together, mixed = types_in_common((types, own))
        if not groups or num_rows + rows > MERGED_ROWS or here != places or mixed:
            groups.append([])
            num_rows, together, places = 0, own, here
        groups[-1].append(number)
        num_rows += rows
        types = together
    return [group for group in groups if len(group) > 1]


def join_parts(target: Path, source: Path, numbers: Sequence[int], kept: Mapping[int, np.ndarray]) -> None:
    """Writes the rows of some parts as one part, and records without rows for the others.

    Args:
        target: the folder of the new gallery, or of one of its spaces.
        source: the folder that has the parts now.
        numbers: the parts.
        kept: the rows that stay, for each part that loses some.

    Raises:
        InputError: if a part is damaged.
    """
    parts = [_checked(source, number) for number in numbers]
    first = parts[0]
    files = {}
    for name in first.files:  # one kind of file at a time, because they may be large
        pieces = [(source / _own(name, first, part), kept.get(part.number)) for part in parts]
        files |= write_files(target, {target / name: _joined(source, pieces)})
    counts = [len(kept[part.number]) if part.number in kept else part.num_rows for part in parts]
    failures: dict[str, int] = {}
    for part in parts:
        for reason, count in part.failures.items():
            failures[reason] = failures.get(reason, 0) + count
    for part in parts[1:]:
        write_record(target, replace(part, num_rows=0, num_samples=0, failures={}, files={}))
    num_samples = sum(part.num_samples for part in parts)
    joined = replace(
        first, num_rows=sum(counts), num_samples=num_samples, failures=dict(sorted(failures.items())), files=files
    )
    write_record(target, joined)


def _checked(source: Path, number: int) -> Part:
    """The record of a part whose files are whole: otherwise damage would get a new checksum."""
    part = _record(source, number)
    if problems := verify_part(source, part):
        raise InputError(f"part {part.name} of {source} is damaged ({'; '.join(problems)}); {REMEDY}")
    return part


def _record(source: Path, number: int) -> Part:
    part = read_part(source, number)
    if part is None:
        raise InputError(f"part {number:05d} of {source} has no commit record; {REMEDY}")
    return part


def _own(name: str, first: Part, part: Part) -> str:
    """The name of the file of one part that has this name for another."""
    return name.replace(f"_{first.name}.", f"_{part.name}.")


def _joined(source: Path, pieces: Sequence[tuple[Path, np.ndarray | None]]) -> bytes:
    """The rows of some files of one kind as the contents of one file; None stands for all rows of a file."""
    if pieces[0][0].suffix == ".npy":
        return npy_bytes(np.concatenate([rows_of_file(path, rows_N) for path, rows_N in pieces]))
    tables = [rows_of_file(path, rows_N) for path, rows_N in pieces]
    return parquet_bytes(tables[0] if len(tables) == 1 else _one_table(tables))


def _one_table(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables below each other. A column that one of them lacks, or that has no value there, has no value there."""
    spellings: dict[str, str] = {}
    kinds: dict[str, pa.DataType] = {}
    for table in tables:
        for field in table.schema:
            spellings.setdefault(field.name.lower(), field.name)
            if table[field.name].null_count < len(table):
                kinds[field.name.lower()] = field.type
            kinds.setdefault(field.name.lower(), field.type)
    columns = {}
    for lower, name in spellings.items():
        kind = COLUMNS.get(name, kinds[lower])
        chunks = [_column(table, lower, kind) for table in tables]
        columns[name] = pa.chunked_array([chunk for column in chunks for chunk in column.chunks], kind)
    return pa.table(columns)


def _column(table: pa.Table, lower: str, kind: pa.DataType) -> pa.ChunkedArray:
    name = next((name for name in table.column_names if name.lower() == lower), None)
    if name is None or table[name].null_count == len(table):
        return pa.chunked_array([pa.nulls(len(table), kind)])
    return table[name].cast(kind)


def _types(root: Path, number: int) -> dict[str, pa.DataType]:
    """The types of a part's columns, by name in lower case; null where one has no value."""
    fields = fields_of_part(root, number, _record(root, number).num_rows)
    return {name: field.type for name, field in fields.items()}
