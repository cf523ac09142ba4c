"""Where everything lies in a gallery: the paths of its files and the names of its locks."""

from __future__ import annotations

from pathlib import Path

from ...datasets.files import TEMPORARY, remove_temporary

# What a job holds from its beginning to its end, and what a deletion holds for a moment, also while a job runs.
JOB_LOCK = "gallery.lock"
DELETION_LOCK = "deleted.lock"
# The tombstones are written under a lock of their own, so their temporary file is no job's to remove.
DELETED = "deleted.npy"


def remove_temporary_files(root: Path) -> None:
    """Removes what a killed job left half written in a gallery, but not what a deletion is writing now."""
    remove_temporary(root, but=[root / f"{DELETED}{TEMPORARY}"])


def part_name(number: int) -> str:
    """Five digits."""
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


def record_path(root: Path, number: int) -> Path:
    """The file of a part's commit record."""
    return root / "parts" / f"{part_name(number)}.json"
