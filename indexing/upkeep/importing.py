"""Imports folders that other tools wrote: `clip-retrieval inference`, or LAION's published `img_emb` and `metadata`.

Shapes: N rows of a part, D dimension.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from tqdm import tqdm

from ...datasets.errors import InputError
from ...datasets.files import exclusive, replacing
from ...datasets.names import NAMES, find_caption
from ...datasets.types import Shard
from ..encoders.spec import EncoderSpec
from ..store.layout import JOB_LOCK, remove_temporary_files, text_vectors_path, vectors_path
from ..store.ledger import Ledger
from ..store.manifest import open_or_create
from ..store.parts import write_linked_part
from ..store.tables import COLUMNS, Record

# Rows that are checked or converted at a time.
_BLOCK = 65_536
# float16 keeps the length of a unit vector to about a thousandth.
_UNIT_TOLERANCE = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """The files of one part; `texts`: the caption vectors, if any."""

    images: Path
    metadata: Path
    texts: Path | None
    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What an import did.

    Attributes:
        num_rows: rows of the source.
        num_linked: files of vectors that are linked.
        num_converted: files of vectors that were converted.
        num_empty: rows without a finite vector, which are kept as zeros.
    """

    num_rows: int
    num_linked: int
    num_converted: int
    num_empty: int


def import_vectors(
    source: str | Path, gallery: str | Path, spec: EncoderSpec, *, show_progress: bool = False
) -> Imported:
    """Creates a gallery from a folder with `img_emb/*.npy` and `metadata/*.parquet` (and `text_emb/*.npy`).

    Vectors that are float16 and of unit length are linked, not copied; others are converted. Metadata is copied, with
    the columns under diantu's names. Parts that an earlier run has imported are not imported again.

    Raises:
        InputError: if the folder has another layout, the files of a part have different numbers of rows, or the vectors
            do not have the encoder's dimension.
    """
    source, gallery = Path(source), Path(gallery)
    pieces = _pieces(source, spec)
    counts = {"linked": 0, "converted": 0, "empty": 0}
    has_texts = all(piece.texts for piece in pieces)
    with exclusive(gallery, JOB_LOCK):
        manifest = open_or_create(gallery, [spec], texts=has_texts)
        remove_temporary_files(gallery)
        shards = [_shard(piece) for piece in pieces]
        piece_of = {shard.id: piece for shard, piece in zip(shards, pieces, strict=True)}
        jobs = Ledger(gallery).assign(shards)
        for job in tqdm(jobs, unit=" parts", disable=not show_progress, dynamic_ncols=True):
            piece = piece_of.get(job.shard.id)
            if piece is None:
                raise InputError(f"{gallery} has unfinished work of another job; finish it with diantu embed first")
            _import_piece(gallery, job.part, job.shard, piece, spec, counts)
        manifest.with_committed(gallery).save(gallery)
    return Imported(
        num_rows=sum(piece.num_rows for piece in pieces),
        num_linked=counts["linked"],
        num_converted=counts["converted"],
        num_empty=counts["empty"],
    )


def _shard(piece: _Piece) -> Shard:
    return Shard(uri=str(piece.images.resolve()), format="imported", size_bytes=piece.images.stat().st_size)


def _pieces(source: Path, spec: EncoderSpec) -> list[_Piece]:
    """The parts of a folder in the order of their numbers, checked before anything is written."""
    images = _numbered(source / "img_emb", ".npy")
    if not images:
        raise InputError(
            f"{source} has no img_emb/*.npy; give a folder that `clip-retrieval inference` wrote, or LAION's folders"
        )
    metadata, texts = _numbered(source / "metadata", ".parquet"), _numbered(source / "text_emb", ".npy")
    lacking = sorted(images.keys() ^ metadata.keys())
    if lacking:
        raise InputError(f"{source}: part {lacking[0]} has only one of vectors and metadata; add the other file")
    pieces = []
    for number in sorted(images):
        array, rows = _opened(images[number]), pq.read_metadata(metadata[number]).num_rows
        if array.ndim != 2 or array.shape[1] != spec.dim:
            given = "×".join(map(str, array.shape))
            raise InputError(f"{images[number]} holds {given} values; {spec.name} gives vectors of {spec.dim}")
        others = {"metadata": rows}
        if number in texts:
            others["captions' vectors"] = len(_opened(texts[number]))
        for what, count in others.items():
            if count != len(array):
                raise InputError(
                    f"{source}: part {number} has {len(array)} vectors and {count} rows of {what}, so rows cannot be "
                    "matched; write it again with the tool that it came from"
                )
        pieces.append(
            _Piece(images=images[number], metadata=metadata[number], texts=texts.get(number), num_rows=len(array))
        )
    return pieces


def _numbered(folder: Path, ending: str) -> dict[int, Path]:
    """Files by the number in their name; img_emb_0.npy and img_emb_0000.npy have the same number."""
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        number = re.search(r"(\d+)$", path.stem)
        if number:
            found[int(number.group())] = path
    return found


def _opened(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is not an .npy file of numbers: {error}") from error


def _import_piece(
    gallery: Path, number: int, shard: Shard, piece: _Piece, spec: EncoderSpec, counts: dict[str, int]
) -> None:
    counts["empty"] += _bring(piece.images, vectors_path(gallery, number), counts)
    files = [vectors_path(gallery, number)]
    if piece.texts:
        _bring(piece.texts, text_vectors_path(gallery, number), counts)
        files.append(text_vectors_path(gallery, number))
    table = pq.read_table(piece.metadata)
    first = f"{number:05d}"
    records = [_record(row, f"{first}_{i:08d}") for i, row in enumerate(table.to_pylist())]
    write_linked_part(gallery, number, shard, spec, records, files)


def _bring(source: Path, target: Path, counts: dict[str, int]) -> int:
    """Links a file of float16 unit vectors, converts any other file; returns how many rows have no finite vector."""
    array = _opened(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if array.dtype == np.float16 and _is_unit(array):
        counts["linked"] += 1
        try:
            os.link(source, target)
        except OSError:  # another file system
            target.symlink_to(source.resolve())
        return 0
    counts["converted"] += 1
    return _convert(array, target)


def _is_unit(array_ND: np.ndarray) -> bool:
    for start in range(0, len(array_ND), _BLOCK):
        lengths = np.linalg.norm(array_ND[start : start + _BLOCK].astype(np.float32), axis=1)
        if not (np.abs(lengths - 1) < _UNIT_TOLERANCE).all():  # also false for NaN
            return False
    return True


def _convert(array_ND: np.ndarray, target: Path) -> int:
    """Writes rows as float16 of unit length, block by block."""
    num_empty = 0
    with replacing(target) as temporary:
        written = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=array_ND.shape)
        for start in range(0, len(array_ND), _BLOCK):
            block = array_ND[start : start + _BLOCK].astype(np.float32)
            lengths = np.linalg.norm(block, axis=1, keepdims=True)
            is_usable = np.isfinite(lengths) & (lengths > 0)
            num_empty += int((~is_usable).sum())
            written[start : start + _BLOCK] = np.where(is_usable, block / np.where(is_usable, lengths, 1), 0)
        written.flush()
    return num_empty


def _record(row: dict[str, Any], default_key: str) -> Record:
    """A row of the source's metadata under diantu's names; clip-retrieval's JSON column `metadata` becomes columns."""
    row = {**_unfolded(row.pop("metadata", None)), **row}
    by_name = {name.lower(): name for name in row}
    ours: dict[str, Any] = dict.fromkeys(COLUMNS)
    for column in ("caption", "url", "width", "height", "key"):
        name = find_caption(row) if column == "caption" else by_name.get(column)
        value = row[name] if name else None
        if name and name.lower() in (column, *NAMES["caption"]):  # `caption_en` stays a column of its own, too
            del row[name]
        ours[column] = value if value is None or column not in ("width", "height") else int(value)
    ours["image_path"] = row.pop("image_path", None)
    ours["key"] = str(ours["key"] or _stem(ours["image_path"]) or default_key)
    return {**ours, **{name: value for name, value in row.items() if name.lower() not in ours}}


def _stem(image_path: str | None) -> str | None:
    return image_path.rpartition("/")[2].rsplit(".", 1)[0] if image_path else None


def _unfolded(text: Any) -> dict[str, Any]:
    try:
        fields = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return {"metadata": text}
    return fields if isinstance(fields, dict) else {}
