"""The paths of all files in a gallery, and the names of its locks."""

from __future__ import annotations

from pathlib import Path

from ...datasets.files import TEMPORARY, remove_temporary

# A job holds its lock from beginning to end. A deletion holds its own for a moment, and may do so while a job runs.
JOB_LOCK = "gallery.lock"
DELETION_LOCK = "deleted.lock"
# The tombstones are written under the deletion lock, so a job must not remove their temporary file.
DELETED = "deleted.npy"
# Shards of images that a program added: the only images that a gallery holds itself.
ADDED = "added"


def remove_temporary_files(root: Path) -> None:
    """Removes the temporary files of a killed job, but not the file that a deletion is writing now."""
    remove_temporary(root, but=[root / f"{DELETED}{TEMPORARY}"])


def part_name(number: int) -> str:
    """A part's number with five digits, as in the names of its files."""
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
