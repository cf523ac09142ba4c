"""A part: what one shard became. Vectors, metadata and failures, and a commit record that is written last.

Row i of the metadata belongs to row i of the vectors. Folder and file names are those of `clip-retrieval inference`,
so that autofaiss, embedding-reader and clip-retrieval read a gallery unchanged.

Shapes: N rows, D dimension.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.errors import Reason
from ...datasets.files import sha256, sha256_of_file, write_atomic, write_json
from ...datasets.types import Failure, Shard
from ..encoders.spec import EncoderSpec
from .layout import failures_path, metadata_path, record_path, text_vectors_path, vectors_path
from .records import Part

Record = Mapping[str, Any]

# What to do about a part whose files are damaged.
REMEDY = "diantu status --verify lists what is; remove the part's file in parts/ and run diantu embed to make it anew"
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
    # What the picture looks like: see datasets.features.
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


def write_part(
    root: Path,
    number: int,
    shard: Shard,
    fingerprint: str,
    emb_ND: np.ndarray,
    records: Sequence[Record],
    failures: Sequence[Failure],
    *,
    text_emb_ND: np.ndarray | None = None,
    quarantined: str | None = None,
) -> Part:
    """Writes a part's files and then its commit record; without the record the part does not exist.

    `text_emb_ND` are the vectors of the captions, row by row, where they are embedded too.
    """
    contents = {vectors_path(root, number): _npy_bytes(emb_ND)}
    if text_emb_ND is not None:
        contents[text_vectors_path(root, number)] = _npy_bytes(text_emb_ND)
    assert all(len(vectors) == len(records) for vectors in (emb_ND, text_emb_ND) if vectors is not None), (
        f"{len(emb_ND)} vectors, {len(records)} rows of metadata"
    )
    return _commit(
        root,
        _part(number, shard, fingerprint, len(records), emb_ND.shape[1], _write_files(root, contents)),
        records,
        failures,
        quarantined,
    )


def write_linked_part(
    root: Path, number: int, shard: Shard, spec: EncoderSpec, records: Sequence[Record], vectors: Sequence[Path]
) -> Part:
    """Writes metadata and commit record of a part whose files of vectors are in place already."""
    in_place = {
        path.relative_to(root).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        for path in vectors
    }
    return _commit(root, _part(number, shard, spec.fingerprint, len(records), spec.dim, in_place), records, [], None)


def write_space_part(root: Path, number: int, shard: Shard, fingerprint: str, emb_ND: np.ndarray) -> Part:
    """Writes the vectors of a part in a further space, whose folder is `root`, and then their commit record."""
    files = _write_files(root, {vectors_path(root, number): _npy_bytes(emb_ND)})
    part = _part(number, shard, fingerprint, len(emb_ND), emb_ND.shape[1], files)
    write_json(record_path(root, number), asdict(part))
    return part


def write_rows_of_part(root: Path, source: Path, part: Part, rows_N: np.ndarray) -> Part:
    """Writes some rows of a part that is in another gallery (or a space of it), and then the commit record.

    Args:
        root: where to; the part keeps its number.
        source: where the part is now.
        part: its commit record there.
        rows_N: which rows, ascending.
    """
    files: dict[str, Mapping[str, Any]] = {}
    for name in part.files:  # one at a time: they may be large
        files |= _write_files(root, {root / name: _rows_of_file(source / name, rows_N)})
    part = replace(part, num_rows=len(rows_N), files=files)
    write_json(record_path(root, part.number), asdict(part))
    return part


def _rows_of_file(path: Path, rows_N: np.ndarray) -> bytes:
    if path.suffix == ".npy":
        return _npy_bytes(np.load(path, mmap_mode="r", allow_pickle=False)[rows_N])
    if path.parent.name == "metadata":
        return _parquet_bytes(pq.read_table(path).take(rows_N))
    return path.read_bytes()  # failures: what the shard could not give stays so


def _commit(
    root: Path, part: Part, records: Sequence[Record], failures: Sequence[Failure], quarantined: str | None
) -> Part:
    """Adds metadata and failures to a part whose vectors are on disk, and writes its commit record."""
    tables = {
        metadata_path(root, part.number): _parquet_bytes(metadata_table(records)),
        failures_path(root, part.number): _parquet_bytes(_failure_table(failures)),
    }
    left_out = sum(failure.reason != Reason.SHARD_TRUNCATED for failure in failures)
    reasons = sorted({failure.reason.value for failure in failures})
    part = replace(
        part,
        num_samples=len(records) + left_out,
        failures={reason: sum(failure.reason == reason for failure in failures) for reason in reasons},
        files={**part.files, **_write_files(root, tables)},
        quarantined=quarantined,
    )
    write_json(record_path(root, part.number), asdict(part))
    return part


def _part(number: int, shard: Shard, fingerprint: str, num_rows: int, dim: int, files: Mapping[str, Any]) -> Part:
    return Part(
        number=number,
        num_rows=num_rows,
        dim=dim,
        dtype="float16",
        encoder_fingerprint=fingerprint,
        shard={"id": shard.id, "uri": shard.uri, "format": shard.format, "size_bytes": shard.size_bytes},
        num_samples=num_rows,
        failures={},
        files=files,
    )


def _write_files(root: Path, contents: Mapping[Path, bytes]) -> Mapping[str, Mapping[str, Any]]:
    for path, data in contents.items():
        write_atomic(path, data)
    return {
        path.relative_to(root).as_posix(): {"bytes": len(data), "sha256": sha256(data)}
        for path, data in contents.items()
    }


def read_failures(root: Path, number: int) -> list[dict[str, str]]:
    """The samples that a part left out: key, shard, reason, detail."""
    return pq.read_table(failures_path(root, number)).to_pylist()


def metadata_names(root: Path, number: int) -> list[str]:
    """The columns of a part's metadata."""
    return pq.read_schema(metadata_path(root, number)).names


def read_metadata(root: Path, number: int, columns: Sequence[str]) -> pa.Table:
    """Some columns of a part's metadata; those that it does not have are left out."""
    here = metadata_names(root, number)
    return pq.read_table(metadata_path(root, number), columns=[name for name in columns if name in here])


def metadata_table(records: Sequence[Record]) -> pa.Table:
    """Records as a table: the fixed columns, then every further field in order of first appearance.

    A field's type is the narrowest that holds all its values (bool, int64, float64, else text), since JSON fields may
    differ from sample to sample.
    """
    names = dict.fromkeys([*COLUMNS, *(name for record in records for name in record)])
    columns = {name: [record.get(name) for record in records] for name in names}
    arrays = [
        pa.array(values, COLUMNS[name]) if name in COLUMNS else _array(values) for name, values in columns.items()
    ]
    return pa.Table.from_arrays(arrays, names=list(columns))


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
        pass  # an integer beyond 64 bits: text keeps every digit
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode("utf-8")  # JSON may hold half of a surrogate pair


def _failure_table(failures: Sequence[Failure]) -> pa.Table:
    rows = [{**asdict(failure), "reason": failure.reason.value} for failure in failures]
    return pa.Table.from_pylist([{name: _text(value) for name, value in row.items()} for row in rows], _FAILURE_COLUMNS)


def _npy_bytes(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, np.float16), allow_pickle=False)
    return buffer.getvalue()


def _parquet_bytes(table: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    # Few values of a row group repeat, and zstd finds those that do: dictionaries make files larger and slower to read.
    pq.write_table(table, buffer, compression="zstd", row_group_size=_ROW_GROUP, use_dictionary=False)
    return buffer.getvalue().to_pybytes()
