"""Imports folders that other tools wrote: `clip-retrieval inference`, or LAION's published `img_emb` and `metadata`.

Shapes: N rows of a part, D dimension.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from ...datasets.errors import InputError, Reason, first_line
from ...datasets.files import exclusive, refuse_unless_damaged, replacing
from ...datasets.names import NAMES, find_caption, further_columns
from ...datasets.types import Failure, Shard
from ...datasets.values import as_text, holds_bytes, plain, plain_column
from ..encoders.spec import EncoderSpec
from ..store.layout import JOB_LOCK, remove_temporary_files, text_vectors_path, vectors_path
from ..store.ledger import Ledger
from ..store.manifest import open_or_create
from ..store.parts import write_linked_part
from ..store.tables import COLUMNS, Record

log = logging.getLogger(__name__)

_EXAMPLE = "img_emb_0.npy, text_emb_0.npy and metadata_0.parquet"
_NOT_USABLE = "its vector is zero or not finite"
_MOST_PIXELS = 1 << 31
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
        num_empty: rows without a finite vector of a length above 0, which are left out as failures.
    """

    num_rows: int
    num_linked: int
    num_converted: int
    num_empty: int


def import_vectors(
    source: str | Path, gallery: str | Path, spec: EncoderSpec, *, show_progress: bool = False
) -> Imported:
    """Creates a gallery from a folder with `img_emb/*.npy` and `metadata/*.parquet` (and `text_emb/*.npy`).

    Vectors that are float16 and of unit length are linked, not copied; others are converted, and rows without a usable
    vector are left out as failures. Metadata is copied, with the columns under diantu's names; the user's columns with
    such names are kept as `table_<name>`. Parts that an earlier run has imported are not imported again.

    Raises:
        InputError: if the folder has another layout, two files have the same number, the files of a part have different
            numbers of rows, a file is damaged, or the vectors do not have the encoder's dimension.
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
    if texts and texts.keys() != images.keys():
        log.warning(
            "%s: text_emb is not used, because it has files for %d of %d parts", source, len(texts), len(images)
        )
    pieces = []
    for number in sorted(images):
        array, rows = _opened(images[number]), _num_rows(metadata[number])
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
    """Files by the number in their name; img_emb_0.npy and img_emb_0000.npy have the same number.

    Raises:
        InputError: if two files have the same number, because then nobody knows which vectors belong to which metadata.
    """
    found: dict[int, Path] = {}
    for path in sorted(folder.glob(f"*{ending}")):
        if path.name.startswith("."):
            continue
        number = re.search(r"(\d+)$", path.stem)
        if number is None:
            raise InputError(f"{path} has no number at the end of its name; call it as the others, say {_EXAMPLE}")
        other = found.setdefault(int(number.group()), path)
        if other is not path:
            raise InputError(
                f"{other} and {path.name} have the same number, so their rows cannot be matched; import the folders of "
                "two runs one by one, each into its own gallery, or number the files of all of them anew"
            )
    return found


def _num_rows(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    refuse_unless_damaged(error, path)
    return InputError(f"{path} cannot be read as a parquet file: {first_line(error)}; write it again")


def _opened(path: Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:
        refuse_unless_damaged(error, path)
        raise InputError(f"{path} is not an .npy file of numbers: {first_line(error)}") from error
    # bfloat16, which numpy does not know, is loaded as bytes.
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path} holds values of the type {array.dtype}; save them as float32 or float16")
    return array


def _import_piece(
    gallery: Path, number: int, shard: Shard, piece: _Piece, spec: EncoderSpec, counts: dict[str, int]
) -> None:
    records = _records(piece.metadata, f"{number:05d}")
    usable_N = _usable(_opened(piece.images))
    _bring(piece.images, vectors_path(gallery, number), usable_N, counts)
    files = [vectors_path(gallery, number)]
    if piece.texts:
        _bring(piece.texts, text_vectors_path(gallery, number), usable_N, counts)
        files.append(text_vectors_path(gallery, number))
    failures = [
        Failure(key=str(records[i]["key"]), shard=shard.uri, reason=Reason.NOT_FINITE, detail=_NOT_USABLE)
        for i in np.flatnonzero(~usable_N).tolist()
    ]
    counts["empty"] += len(failures)
    kept = [records[i] for i in np.flatnonzero(usable_N).tolist()]
    write_linked_part(gallery, number, shard, spec, kept, files, failures)


def _bring(source: Path, target: Path, kept_N: np.ndarray, counts: dict[str, int]) -> None:
    """Links a file of float16 unit vectors, converts the rows to keep of any other file."""
    array = _opened(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if array.dtype == np.float16 and array.flags.c_contiguous and kept_N.all() and _is_unit(array):
        counts["linked"] += 1
        try:
            os.link(source, target)
        except OSError:  # another file system
            target.symlink_to(source.resolve())
        return
    counts["converted"] += 1
    _convert(array, target, kept_N)


def _is_unit(array_ND: np.ndarray) -> bool:
    for start in range(0, len(array_ND), _BLOCK):
        lengths = np.linalg.norm(array_ND[start : start + _BLOCK].astype(np.float32), axis=1)
        if not (np.abs(lengths - 1) < _UNIT_TOLERANCE).all():  # also false for NaN
            return False
    return True


def _usable(array_ND: np.ndarray) -> np.ndarray:
    """Which rows have a direction: finite values that are not all 0. `N` bool."""
    blocks = (array_ND[start : start + _BLOCK] for start in range(0, len(array_ND), _BLOCK))
    return np.concatenate([np.zeros(0, bool), *(np.isfinite(b).all(axis=1) & (b != 0).any(axis=1) for b in blocks)])


def _convert(array_ND: np.ndarray, target: Path, kept_N: np.ndarray) -> None:
    """Writes the rows to keep as float16 of unit length, block by block; zeros for rows without a direction."""
    # Not through a memory map: on a full disk, a write to that kills the process.
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False}
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (int(kept_N.sum()), array_ND.shape[1])})
        for start in range(0, len(array_ND), _BLOCK):
            block = array_ND[start : start + _BLOCK][kept_N[start : start + _BLOCK]]
            file.write(np.ascontiguousarray(_unit(block), np.float16).tobytes())


def _unit(emb_ND: np.ndarray) -> np.ndarray:
    """Vectors of length 1, float32; zeros for those without a direction.

    In float64 and divided by the largest value first, because squares of 1e200 and of 1e-200 have no float64.
    """
    emb_ND = emb_ND.astype(np.float64)
    is_usable_N = _usable(emb_ND)
    emb_ND[~is_usable_N] = 1
    emb_ND /= np.abs(emb_ND).max(axis=1, keepdims=True)
    emb_ND /= np.linalg.norm(emb_ND, axis=1, keepdims=True)
    emb_ND[~is_usable_N] = 0
    return emb_ND.astype(np.float32)


def _records(path: Path, first: str) -> list[Record]:
    """The rows of a metadata file under diantu's names."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            table = file.read()
    except (OSError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error
    left_out = [field.name for field in table.schema if holds_bytes(field.type)]
    if left_out:
        log.warning("%s: columns of bytes are left out: %s", path, ", ".join(left_out))
    columns = [
        (name, _unfolded(column) if name == "metadata" else plain_column(column))
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not holds_bytes(column.type)
    ]
    return [_record([(name, values[i]) for name, values in columns], f"{first}_{i:08d}") for i in range(table.num_rows)]


def _unfolded(column: pa.ChunkedArray) -> list[Any]:
    """The column `metadata` of clip-retrieval: objects, where its JSON texts or structs are objects."""
    values = []
    for value in plain_column(column):
        try:
            fields = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            fields = value
        values.append(fields if isinstance(fields, dict) else value)
    return values


def _record(fields: list[tuple[str, Any]], default_key: str) -> Record:
    """A row of the source's metadata: diantu's columns, then the others; see `further_columns` for their names."""
    nested = [(name, value) for name, value in fields if isinstance(value, dict)]
    fields = [(name, value) for name, value in fields if not isinstance(value, dict)]
    fields += [(name, plain(value)) for _, value in nested for name, value in value.items()]
    first: dict[str, Any] = {}
    for name, value in fields:  # the columns of the table come before those of its JSON
        if first.get(name) is None:
            first[name] = value
    ours: dict[str, Any] = dict.fromkeys(COLUMNS)
    caption = find_caption(name for name, value in first.items() if _texts(value))
    captions = [] if caption is None else _texts(first[caption])
    ours["caption"] = captions[0] if captions else None
    url, path = (_text(first, column) for column in ("url", "image_path"))
    ours |= {"url": url, "image_path": path, "key": _text(first, "key") or _stem(path) or default_key}
    if caption is not None and caption.lower() in NAMES["caption"]:  # `caption_en` stays a column of its own, too
        fields.remove((caption, first[caption]))
    for column in ("width", "height"):
        name = _spelling(first, column)
        if name is not None and (number := _whole(first[name])) is not None:
            ours[column] = number
            fields.remove((name, first[name]))
    if len(captions) > 1:
        fields.append(("captions", captions))
    return {**ours, **further_columns(ours, fields)}


def _spelling(fields: Mapping[str, Any], name: str) -> str | None:
    """How a row spells one of diantu's columns; `width` comes before `WIDTH`."""
    return name if name in fields else next((other for other in fields if other.lower() == name), None)


def _text(fields: Mapping[str, Any], column: str) -> str | None:
    """A field as text; None if it is missing or blank. 0 is no missing value."""
    name = _spelling(fields, column)
    value = None if name is None else fields[name]
    return None if value is None else as_text(value).strip() or None


def _texts(value: Any) -> list[str]:
    """The captions in a field: a text, or a list of them, each once; a number is a text here."""
    texts = (as_text(item).strip() for item in (value if isinstance(value, list) else [value]) if item is not None)
    return list(dict.fromkeys(text for text in texts if text))


def _whole(value: Any) -> int | None:
    """A number of pixels, which some tables hold as a float or as text; None if the value is none."""
    if isinstance(value, bool):  # an int, for Python
        return None
    try:
        number = int(value) if isinstance(value, (int, str, float, Decimal)) else None
    except (ValueError, OverflowError):
        return None
    if number is None or not 0 <= number < _MOST_PIXELS:
        return None
    return number if (str(number) == value.strip() if isinstance(value, str) else number == value) else None


def _stem(image_path: str | None) -> str | None:
    return (image_path.rpartition("/")[2].rsplit(".", 1)[0] or None) if image_path else None
