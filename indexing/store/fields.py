"""The fields of a part's metadata: their names, and the types of those that have values.

Parts may differ in their fields, and in the type of a field.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.errors import InputError
from .layout import metadata_path
from .metadata_file import opened_metadata
from .records import REMEDY, check_file
from .tables import COLUMNS, EXACT_INTEGER, has_no_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column of a part: its name as written, and its type, which is null where it has no value."""

    name: str
    type: pa.DataType
    is_exact: bool  # whether every value, if it is an integer, is exactly a float64


def fields_of_part(root: Path, number: int, num_rows: int) -> dict[str, Field]:
    """The fields of a part, by name in lower case; only the end of the file is read.

    Raises:
        InputError: if the file is damaged, or is not the one that was written.
    """
    path = metadata_path(root, number)
    check_file(root, number, path)
    with opened_metadata(path) as file:
        footer = file.metadata
    if footer.num_rows != num_rows:
        raise InputError(f"{path} holds {footer.num_rows} rows, {num_rows} were written; {REMEDY}")
    return fields_of(footer)


def fields_of(footer: pq.FileMetaData) -> dict[str, Field]:
    """The fields of a parquet file with metadata, by name in lower case."""
    fields = {}
    for i, field in enumerate(footer.schema.to_arrow_schema()):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type  # in the row store
        if _is_empty(footer, i, field.name, kind):
            kind = pa.null()
        if pa.types.is_list(kind):  # files call the items `element`, which makes another type
            kind = pa.list_(kind.value_type)
        is_exact = kind != pa.int64() or _are_exact(footer, i)
        fields[field.name.lower()] = Field(name=field.name, type=kind, is_exact=is_exact)
    return fields


def types_in_common(parts: Iterable[Mapping[str, pa.DataType]]) -> tuple[dict[str, pa.DataType], set[str]]:
    """The columns that have one type in all parts that have values of them, and the columns that have several.

    Args:
        parts: the types of each part's columns by name, null where a column has no value.

    Returns:
        The one type by name, null where no part has a value; and the names of the others.
    """
    found: dict[str, set[pa.DataType]] = {}
    for types in parts:
        for name, kind in types.items():
            found.setdefault(name, set()).update(() if kind == pa.null() else (kind,))
    single = {name: next(iter(kinds), pa.null()) for name, kinds in found.items() if len(kinds) <= 1}
    return single, found.keys() - single.keys()


def _is_empty(footer: pq.FileMetaData, position: int, name: str, kind: pa.DataType) -> bool:
    """Whether a field has no value in a part: then it was written as text, whatever its type in other parts."""
    if name in COLUMNS or kind != pa.string():
        return False
    return all(has_no_value(footer.row_group(i), position) for i in range(footer.num_row_groups))


def _are_exact(footer: pq.FileMetaData, position: int) -> bool:
    """Whether all integers of a field are exactly float64; only those up to 2⁵³ are known to be."""
    for i in range(footer.num_row_groups):
        group = footer.row_group(i)
        statistics = group.column(position).statistics
        if statistics is None or not statistics.has_null_count:
            return False
        if statistics.null_count == group.num_rows:
            continue
        if not statistics.has_min_max or max(-statistics.min, statistics.max) > EXACT_INTEGER:
            return False
    return True
