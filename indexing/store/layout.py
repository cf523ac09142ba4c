"""The paths of all files in a gallery, and the names of its locks."""

from __future__ import annotations

from pathlib import Path

from ...datasets import checksums
from ...datasets.files import TEMPORARY, remove_temporary

# A job holds its lock from beginning to end. A deletion holds its own for a moment, and may do so while a job runs.
JOB_LOCK = "gallery.lock"
DELETION_LOCK = "deleted.lock"
# The tombstones are written under the deletion lock, so a job must not remove their temporary file.
DELETED = "deleted.npy"
# The files that jobs replace. Their checksums are in `checksums.json`.
MANIFEST = "gallery.json"
LEDGER = "ledger.jsonl"
DUPLICATES = "duplicates.parquet"
ORIGIN = "compacted.json"
MOVES = "moves.json"
# The list of the segments of the row store.
ROWS = "rows/rows.json"
# Shards of images that a program added: the only images that a gallery holds itself. Named by their SHA-256.
ADDED = "added"
# What workers write, until it is accepted.
ATTEMPTS = "attempts"
# What was submitted to SLURM, and the logs of its tasks.
SLURM = "slurm"


def replaced_files(root: Path) -> list[str]:
    """The files of a gallery that jobs replace, as far as they exist. `index.json` has the checksum of the index."""
    names = (MANIFEST, LEDGER, DELETED, DUPLICATES, ORIGIN, MOVES, ROWS)
    reports = sorted(path.relative_to(root).as_posix() for path in root.glob("index/*/index.json"))
    return [*(name for name in names if (root / name).exists()), *reports]


def remove_temporary_files(root: Path) -> None:
    """Removes what a killed job left, but not the files that a deletion is writing now."""
    remove_temporary(root, but=[root / f"{name}{TEMPORARY}" for name in (DELETED, checksums.NAME)])
    checksums.settle(root)


def part_name(number: int) -> str:
    """A part's number as in the names of its files: with five digits, or six and more from part 100 000 on.

    So the order of names is the order of parts only below that; sort numbers, never names.
    """
    return f"{number:05d}"


def vectors_path(root: Path, number: int) -> Path:
    """The file of a part's vectors."""
    return root / "img_emb" / f"img_emb_{part_name(number)}.npy"


def text_vectors_path(root: Path, number: int) -> Path:
    """The file of the vectors of a part's captions."""
    return root / "text_emb" / f"text_emb_{part_name(number)}.npy"


def space_root(root: Path, space: str) -> Path:
    """The folder of a further encoder's vectors, laid out like the gallery itself."""
    return root / "spaces" / space


def metadata_path(root: Path, number: int) -> Path:
    """The file of a part's metadata."""
    return root / "metadata" / f"metadata_{part_name(number)}.parquet"


def failures_path(root: Path, number: int) -> Path:
    """The file of a part's failures."""
    return root / "failures" / f"failures_{part_name(number)}.parquet"


def inventory_path(root: Path) -> Path:
    """The file that repeats what all commit records say in short."""
    return root / "parts" / "inventory.jsonl"


def record_path(root: Path, number: int) -> Path:
    """The file of a part's commit record."""
    return root / "parts" / f"{part_name(number)}.json"
