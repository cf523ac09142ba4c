"""One version of a gallery, as it was when it was opened: its indexes, metadata, filters and near-duplicates."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..datasets import InputError
from ..indexing.encoders.spec import EncoderSpec
from ..indexing.index.calibration import Calibration
from ..indexing.index.opened import GalleryIndex
from ..indexing.store.columns import Columns
from ..indexing.store.duplicates import read_duplicates
from ..indexing.store.filters import Filters
from ..indexing.store.layout import space_root
from ..indexing.store.manifest import read_manifest
from ..indexing.store.metadata import Metadata
from ..indexing.store.snapshot import state_of
from ..indexing.store.vectors import Vectors


class Version:
    """What searches read. It never changes, so that one search sees one version; threads may share it."""

    def __init__(self, root: Path) -> None:
        """Opens what the gallery has now, in constant time.

        Raises:
            InputError: if there is no gallery, or it is damaged.
        """
        self.root = root
        self.state = state_of(root)  # first: what comes while the rest is read makes it another version
        self.manifest = read_manifest(root)
        self.index = GalleryIndex.open(root, self.manifest)
        self.duplicates = read_duplicates(root)
        self.metadata = Metadata(root, self.manifest, self.duplicates)
        self.columns = Columns(root, self.manifest, self.duplicates)
        self.filters = Filters(self.columns)
        self.calibration = Calibration(self.index.report)
        self._further: dict[str, GalleryIndex] = {}
        self._lock = threading.Lock()

    @property
    def is_current(self) -> bool:
        """Whether the gallery has not changed since."""
        return state_of(self.root) == self.state

    def space(self, name: str | None) -> EncoderSpec:
        """The encoder of a space, by its name or a piece of it that only one has; None is the main space.

        Raises:
            InputError: if there is no such space, or several fit.
        """
        if name is None:
            return self.manifest.spec
        specs = self.manifest.encoders
        fitting = [spec for spec in specs if name in (spec.name, spec.slug)]
        fitting = fitting or [spec for spec in specs if name.lower() in spec.name.lower()]
        if len(fitting) != 1:
            how = "fits several" if fitting else "is not one"
            raise InputError(
                f"the space {name!r} {how} of the gallery's, which are: {', '.join(spec.name for spec in specs)}"
            )
        return fitting[0]

    def index_of(self, spec: EncoderSpec) -> GalleryIndex:
        """The index of a space. Further spaces have none that was built: every row is compared."""
        if spec is self.manifest.spec:
            return self.index
        with self._lock:
            if spec.slug not in self._further:
                manifest = replace(self.manifest, encoders=(spec,))
                vectors = Vectors(space_root(self.root, spec.slug), manifest)
                self._further[spec.slug] = GalleryIndex(vectors, self.index.deleted)
            return self._further[spec.slug]

    def values(self, column: str, rows_N: np.ndarray) -> list[object]:
        """A column's values for some rows; None where a row has none.

        Raises:
            InputError: if no part has such a column.
        """
        names = self.columns.spellings(column)
        records = self.metadata.rows(rows_N, names)
        return [next((record[name] for name in names if record.get(name) is not None), None) for record in records]
