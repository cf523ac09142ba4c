"""A part: what one shard becomes. Vectors, metadata and failures, and a commit record that is written last.

Row i of the metadata belongs to row i of the vectors. Folder and file names are those of `clip-retrieval inference`,
so that autofaiss, embedding-reader and clip-retrieval read a gallery unchanged.

Shapes: N rows, D dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.errors import Reason
from ...datasets.files import sha256, sha256_of_file, write_atomic
from ...datasets.types import Failure, Shard
from ..encoders.spec import EncoderSpec
from .layout import failures_path, metadata_path, text_vectors_path, vectors_path
from .records import Part, check_file, write_record
from .tables import Record, failure_table, metadata_table, npy_bytes, parquet_bytes


def write_part(
    root: Path,
    number: int,
    shard: Shard,
    *,
    fingerprint: str,
    emb_ND: np.ndarray,
    records: Sequence[Record],
    failures: Sequence[Failure] = (),
    text_emb_ND: np.ndarray | None = None,
) -> Part:
    """Writes a part's files and then its commit record; without the record the part does not exist.

    Args:
        root: the gallery's folder.
        number: the part's number.
        shard: what the part is made from.
        fingerprint: of the encoder.
        emb_ND: the vectors; they are stored as float16.
        records: the metadata, row by row.
        failures: the samples that are not in the part.
        text_emb_ND: the vectors of the captions, row by row, if the gallery has them.
    """
    assert all(len(vectors) == len(records) for vectors in (emb_ND, text_emb_ND) if vectors is not None), (
        f"{len(emb_ND)} vectors, {len(records)} rows of metadata"
    )
    contents = {vectors_path(root, number): npy_bytes(emb_ND)}
    if text_emb_ND is not None:
        contents[text_vectors_path(root, number)] = npy_bytes(text_emb_ND)
    files = write_files(root, contents)
    part = _part(number, shard, fingerprint, dim=emb_ND.shape[1], num_rows=len(records), files=files)
    return _commit(root, part, records, failures)


def write_quarantined_part(
    root: Path, number: int, shard: Shard, spec: EncoderSpec, *, texts: bool, reason: str
) -> Part:
    """Writes a part without rows for a shard that cannot be read, so that the parts after it can be listed.

    Args:
        root: the gallery's folder.
        number: the part's number.
        shard: the shard that cannot be read.
        spec: the encoder of the main space.
        texts: whether the gallery has vectors of captions.
        reason: why the shard cannot be read, a sentence.
    """
    empty = npy_bytes(np.zeros((0, spec.dim), np.float16))
    paths = [vectors_path(root, number), *([text_vectors_path(root, number)] if texts else [])]
    files = write_files(root, {path: empty for path in paths})
    part = _part(number, shard, spec.fingerprint, dim=spec.dim, num_rows=0, files=files)
    return _commit(root, replace(part, quarantined=reason), [], [])


def write_linked_part(
    root: Path,
    number: int,
    shard: Shard,
    spec: EncoderSpec,
    records: Sequence[Record],
    vectors: Sequence[Path],
    failures: Sequence[Failure] = (),
) -> Part:
    """Writes metadata and commit record of a part whose files of vectors are already in place."""
    in_place = {
        path.relative_to(root).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of_file(path)}
        for path in vectors
    }
    part = _part(number, shard, spec.fingerprint, dim=spec.dim, num_rows=len(records), files=in_place)
    return _commit(root, part, records, failures)


def write_space_part(root: Path, number: int, shard: Shard, *, fingerprint: str, emb_ND: np.ndarray) -> Part:
    """Writes the vectors of a part in a further space, whose folder is `root`, and then their commit record."""
    files = write_files(root, {vectors_path(root, number): npy_bytes(emb_ND)})
    part = _part(number, shard, fingerprint, dim=emb_ND.shape[1], num_rows=len(emb_ND), files=files)
    return write_record(root, part)


def write_rows_of_part(root: Path, source: Path, part: Part, rows_N: np.ndarray) -> Part:
    """Writes some rows of a part of another gallery (or of one of its spaces), and then the commit record.

    Args:
        root: the new gallery's folder; the part keeps its number.
        source: the folder that has the part now.
        part: its commit record there.
        rows_N: which rows, ascending.
    """
    files: dict[str, Mapping[str, Any]] = {}
    for name in part.files:  # one at a time, because they may be large
        rows = rows_of_file(source / name, rows_N)
        data = npy_bytes(rows) if isinstance(rows, np.ndarray) else parquet_bytes(rows)
        files |= write_files(root, {root / name: data})
    return write_record(root, replace(part, num_rows=len(rows_N), files=files))


def rows_of_file(path: Path, rows_N: np.ndarray | None) -> np.ndarray | pa.Table:
    """Some rows of a part's file of vectors or metadata, or all if None; of failures all: the shard has not changed."""
    if path.suffix == ".npy":
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        return array if rows_N is None else array[rows_N]
    with pq.ParquetFile(path) as file:
        table = file.read()
    return table if rows_N is None or path.parent.name != "metadata" else table.take(rows_N)


def _part(
    number: int, shard: Shard, fingerprint: str, *, dim: int, num_rows: int, files: Mapping[str, Mapping[str, Any]]
) -> Part:
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


def _commit(root: Path, part: Part, records: Sequence[Record], failures: Sequence[Failure]) -> Part:
    """Writes metadata and failures of a part whose vectors are on disk, and then its commit record."""
    tables = {
        metadata_path(root, part.number): parquet_bytes(metadata_table(records)),
        failures_path(root, part.number): parquet_bytes(failure_table(failures)),
    }
    left_out = sum(failure.reason != Reason.SHARD_TRUNCATED for failure in failures)
    reasons = sorted({failure.reason.value for failure in failures})
    complete = replace(
        part,
        num_samples=len(records) + left_out,
        failures={reason: sum(failure.reason == reason for failure in failures) for reason in reasons},
        files={**part.files, **write_files(root, tables)},
    )
    return write_record(root, complete)


def write_files(root: Path, contents: Mapping[Path, bytes]) -> Mapping[str, Mapping[str, Any]]:
    """Writes files of a part; returns their entries for the commit record, by their paths in `root`."""
    for path, data in contents.items():
        write_atomic(path, data)
    return {
        path.relative_to(root).as_posix(): {"bytes": len(data), "sha256": sha256(data)}
        for path, data in contents.items()
    }


def read_failures(root: Path, number: int) -> list[dict[str, str]]:
    """The samples that are not in a part: key, shard, reason, detail."""
    path = failures_path(root, number)
    check_file(root, number, path, most=None)
    return pq.read_table(path).to_pylist()


def metadata_names(root: Path, number: int) -> list[str]:
    """The columns of a part's metadata."""
    path = metadata_path(root, number)
    check_file(root, number, path)
    return pq.read_schema(path).names


def read_metadata(root: Path, number: int, columns: Sequence[str]) -> pa.Table:
    """Some columns of a part's metadata, without those that the part does not have."""
    path = metadata_path(root, number)
    check_file(root, number, path)
    with pq.ParquetFile(path) as file:  # not pq.read_table, which takes three milliseconds to begin
        return file.read(columns=[name for name in columns if name in file.schema_arrow.names])
