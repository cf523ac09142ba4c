"""One state of a gallery: its folder, its manifest and its deleted rows, read together.

Everything that reads a gallery takes a snapshot, so that no reader combines the manifest of one moment with the
tombstones of another.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from ...datasets.errors import InputError
from ...datasets.files import read_bytes, reading, sha256
from ..encoders.spec import EncoderSpec
from .layout import DELETED, DUPLICATES, MANIFEST, MOVES, space_root
from .manifest import Manifest, read_manifest
from .tombstones import read_deleted

# Which vectors of the main space a search compares: those of the images or those of their captions.
Over: TypeAlias = Literal["images", "captions"]
OVER: tuple[Over, ...] = ("images", "captions")

_REPORT = "index.json"
# Parts of a report that may differ where the index is the same: what was measured, why it was built, and what lies
# beside it.
_NOT_THE_INDEX = ("build_seconds", "delivers", "reason", "row_store")
# Name, inode, size and modification time of each file that jobs replace when they change a gallery.
_Stamp = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Snapshot:
    """What a gallery holds at one moment. It never changes, so threads may share it.

    Attributes:
        root: the gallery's folder; for a further space, the folder of that space.
        manifest: its encoders and parts.
        deleted: the deleted rows among those of the manifest, int64 row ids, ascending; for captions, also the rows
            that have no vector of a caption.
        over: whose vectors a search of the snapshot compares.
    """

    root: Path
    manifest: Manifest
    deleted: np.ndarray
    over: Over = "images"
    _stamp: _Stamp = field(default=(), repr=False)

    @classmethod
    def read(cls, root: Path, *, with_committed: bool = False) -> Snapshot:
        """Reads a gallery's present state.

        Args:
            root: the gallery's folder.
            with_committed: whether to count parts that a running job has committed and not yet listed in the manifest.

        Raises:
            InputError: if there is no gallery, or its manifest or tombstones are damaged.
        """
        stamp = _stamp_of(root)  # first, so that a change while the rest is read makes the snapshot an old one
        manifest = read_manifest(root)
        if with_committed:
            manifest = manifest.with_committed(root)
        deleted = read_deleted(root)
        # A deletion may know of rows that were committed after this manifest was written.
        known = deleted[: np.searchsorted(deleted, manifest.num_rows)]
        return cls(root=root, manifest=manifest, deleted=known, _stamp=stamp)

    @property
    def spec(self) -> EncoderSpec:
        """The encoder of the main space."""
        return self.manifest.spec

    @property
    def num_rows(self) -> int:
        """All rows, deleted ones included: row ids are below this number."""
        return self.manifest.num_rows

    @property
    def num_alive(self) -> int:
        """Rows that are not deleted."""
        return self.num_rows - len(self.deleted)

    @property
    def is_current(self) -> bool:
        """Whether the gallery has not changed since this was read: rows, deletions, near-duplicates or index."""
        return _stamp_of(self.root) == self._stamp

    def in_space(self, spec: EncoderSpec) -> Snapshot:
        """The same rows in the space of one of the gallery's encoders."""
        if spec.fingerprint == self.spec.fingerprint:
            return self
        manifest = replace(self.manifest, encoders=(spec,))
        return Snapshot(root=space_root(self.root, spec.slug), manifest=manifest, deleted=self.deleted)

    def over_captions(self) -> Snapshot:
        """The same rows with the vectors of their captions.

        Raises:
            InputError: if the gallery has none.
        """
        if not self.manifest.texts:
            raise InputError(
                f"the gallery {self.root} has no vectors of captions; embed its sources into a new gallery with: "
                "diantu embed --texts captions"
            )
        return replace(self, over="captions")

    def without(self, rows: np.ndarray) -> Snapshot:
        """The same without some more rows, int64."""
        return replace(self, deleted=np.union1d(self.deleted, rows))


def gallery_version(root: Path) -> str:
    """16 hex digits that change when the gallery's rows, deletions, near-duplicates or index do."""
    digest = hashlib.sha256()
    for name in _changing_files(root):
        if (root / name).exists():
            data = read_bytes(root / name)
            content = _index_alone(data) if name.endswith(_REPORT) else data
            digest.update(f"{name}\0{sha256(content)}\0".encode())
    return digest.hexdigest()[:16]


def _index_alone(report: bytes) -> bytes:
    """An `index.json` without what may differ each time the same index is built."""
    try:
        values = {name: value for name, value in json.loads(report).items() if name not in _NOT_THE_INDEX}
    except (ValueError, AttributeError):  # damaged: opening the index says so
        return report
    return json.dumps(values, sort_keys=True).encode()


def _changing_files(root: Path) -> list[str]:
    """The files that jobs replace whenever they change a gallery, relative to its folder."""
    indexes = sorted(path.relative_to(root).as_posix() for path in root.glob(f"index/*/{_REPORT}"))
    return [MANIFEST, DELETED, DUPLICATES, MOVES, *indexes]


def _stamp_of(root: Path) -> _Stamp:
    stamps = []
    for name in _changing_files(root):
        try:
            with reading(root / name):
                found = (root / name).stat()
        except FileNotFoundError:
            continue
        stamps.append((name, found.st_ino, found.st_size, found.st_mtime_ns))
    return tuple(stamps)
