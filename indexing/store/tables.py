"""Metadata, failures and vectors as file contents: records → parquet, arrays → npy.

Shapes: N rows, D dimension.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.types import Failure

Record = Mapping[str, Any]  # one row of metadata

# Reading one row costs one row group: small enough for a hit's metadata, large enough to compress.
_ROW_GROUP = 512

# The columns that every part has, in this order, before the fields of the samples.
COLUMNS = {
    "key": pa.string(),
    "shard": pa.string(),
    "offset": pa.int64(),
    "length": pa.int64(),
    "image_path": pa.string(),
    "caption": pa.string(),
    "url": pa.string(),
    "width": pa.int64(),
    "height": pa.int64(),
    # What the image looks like: see datasets.features.
    "aspect": pa.float64(),
    "brightness": pa.float64(),
    "contrast": pa.float64(),
    "colorfulness": pa.float64(),
    "dominant_color": pa.string(),
    "dominant_hue": pa.float64(),
    "complexity": pa.float64(),
    "phash": pa.uint64(),
}
_FAILURE_COLUMNS = pa.schema([(name, pa.string()) for name in ("key", "shard", "reason", "detail")])


def metadata_table(records: Sequence[Record]) -> pa.Table:
    """Records as a table: the fixed columns, then every other field in order of first appearance.

    A field has the narrowest type that holds all its values (bool, int64, float64, else text), because the types of
    JSON fields may differ from sample to sample.
    """
    names = dict.fromkeys([*COLUMNS, *(name for record in records for name in record)])
    columns = {name: [record.get(name) for record in records] for name in names}
    arrays = [
        pa.array(values, COLUMNS[name]) if name in COLUMNS else _array(values) for name, values in columns.items()
    ]
    return pa.Table.from_arrays(arrays, names=list(columns))


def failure_table(failures: Sequence[Failure]) -> pa.Table:
    """Failures as a table: key, shard, reason, detail."""
    rows = [{**asdict(failure), "reason": failure.reason.value} for failure in failures]
    return pa.Table.from_pylist([{name: _text(value) for name, value in row.items()} for row in rows], _FAILURE_COLUMNS)


def npy_bytes(emb_ND: np.ndarray) -> bytes:
    """Vectors as the contents of a `.npy` file, float16."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(emb_ND, np.float16), allow_pickle=False)
    return buffer.getvalue()


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as the contents of a parquet file."""
    buffer = pa.BufferOutputStream()
    # Few values repeat within a row group, and zstd finds those that do. Dictionaries would make files larger and
    # slower to read.
    pq.write_table(
        table, buffer, compression="zstd", row_group_size=_ROW_GROUP, use_dictionary=False, write_page_checksum=True
    )
    return buffer.getvalue().to_pybytes()


def _array(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    try:
        if kinds == {bool}:
            return pa.array(values, pa.bool_())
        if kinds == {int}:
            return pa.array(values, pa.int64())
        if kinds and kinds <= {int, float}:
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
    except (OverflowError, pa.ArrowInvalid):
        pass  # an integer of more than 64 bits: text keeps every digit
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")  # JSON may contain half of a surrogate pair
