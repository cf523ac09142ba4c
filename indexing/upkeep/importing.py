"""Imports folders that other tools wrote: `clip-retrieval inference`, or LAION's published `img_emb` and `metadata`.

Shapes: N rows of a part, D dimension.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...datasets.errors import InputError, Reason
from ...datasets.files import exclusive
from ...datasets.types import Failure, Shard
from ..encoders.spec import EncoderSpec
from ..store.layout import JOB_LOCK, remove_temporary_files, text_vectors_path, vectors_path
from ..store.ledger import Ledger
from ..store.manifest import open_or_create
from ..store.parts import write_linked_part
from .foreign_metadata import num_rows, read_records
from .foreign_vectors import bring, open_vectors, usable_rows

log = logging.getLogger(__name__)

_EXAMPLE = "img_emb_0.npy, text_emb_0.npy and metadata_0.parquet"
_NOT_USABLE = "its vector is zero or not finite"


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
    counts = Counter[str]()
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
        found = _num_vectors(images[number], spec)
        others = {"metadata": num_rows(metadata[number])}
        if number in texts:
            others["captions' vectors"] = _num_vectors(texts[number], spec)
        for what, count in others.items():
            if count != found:
                raise InputError(
                    f"{source}: part {number} has {found} vectors and {count} rows of {what}, so rows cannot be "
                    "matched; write it again with the tool that it came from"
                )
        pieces.append(_Piece(images=images[number], metadata=metadata[number], texts=texts.get(number), num_rows=found))
    return pieces


def _num_vectors(path: Path, spec: EncoderSpec) -> int:
    array = open_vectors(path)
    if array.ndim != 2 or array.shape[1] != spec.dim:
        given = "×".join(map(str, array.shape)) or "single"
        raise InputError(f"{path} holds {given} values; {spec.name} gives vectors of {spec.dim}")
    return len(array)


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


def _import_piece(
    gallery: Path, number: int, shard: Shard, piece: _Piece, spec: EncoderSpec, counts: Counter[str]
) -> None:
    records = read_records(piece.metadata, f"{number:05d}")
    usable_N = usable_rows(open_vectors(piece.images))
    counts[bring(piece.images, vectors_path(gallery, number), usable_N)] += 1
    files = [vectors_path(gallery, number)]
    if piece.texts:
        counts[bring(piece.texts, text_vectors_path(gallery, number), usable_N)] += 1
        files.append(text_vectors_path(gallery, number))
    failures = [
        Failure(key=str(records[i]["key"]), shard=shard.uri, reason=Reason.NOT_FINITE, detail=_NOT_USABLE)
        for i in np.flatnonzero(~usable_N).tolist()
    ]
    counts["empty"] += len(failures)
    kept = [records[i] for i in np.flatnonzero(usable_N).tolist()]
    write_linked_part(gallery, number, shard, spec, kept, files, failures)
