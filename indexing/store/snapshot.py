"""One state of a gallery: its folder, manifest and deleted rows, and whether it has changed since."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...datasets.files import sha256


def state_of(root: Path) -> tuple[object, ...]:
    """What changes whenever a gallery does: the files that jobs replace, by inode, size and time."""
    names = (
        "gallery.json",
        "deleted.npy",
        "duplicates.parquet",
        *(f"index/{p.name}/index.json" for p in _indexes(root)),
    )
    return tuple(_stamp(root / name) for name in names)


def _indexes(root: Path) -> list[Path]:
    return sorted((root / "index").glob("*")) if (root / "index").is_dir() else []


def _stamp(path: Path) -> tuple[str, int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return (path.name, found.st_ino, found.st_size, found.st_mtime_ns)


def gallery_version(root: Path) -> str:
    """16 hex digits that change when the gallery's rows, deletions, near-duplicates or index do."""
    digest = hashlib.sha256()
    indexes = sorted(path.relative_to(root).as_posix() for path in root.glob("index/*/index.json"))
    for name in ("gallery.json", "deleted.npy", "duplicates.parquet", *indexes):
        if (root / name).exists():
            digest.update(f"{name}\0{sha256((root / name).read_bytes())}\0".encode())
    return digest.hexdigest()[:16]
