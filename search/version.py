"""One version of a gallery, as it was when it was opened: its indexes, metadata, filters and near-duplicates."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from ..datasets import InputError
from ..indexing.encoders.spec import EncoderSpec
from ..indexing.index.calibration import Calibration
from ..indexing.index.opened import GalleryIndex
from ..indexing.index.within import FilterCache
from ..indexing.store.columns import Columns
from ..indexing.store.duplicates import read_duplicates
from ..indexing.store.filters import Filters
from ..indexing.store.metadata import Metadata
from ..indexing.store.rows.reading import RowStore
from ..indexing.store.snapshot import Over, Snapshot
from ..indexing.store.vectors import Vectors


class Space:
    """The rows of a gallery in the space of one encoder: its index, and the filters over it."""

    def __init__(self, spec: EncoderSpec, index: GalleryIndex) -> None:
        self.spec = spec
        self.index = index
        self.filtered = FilterCache(index)


class Version:
    """What searches read. It never changes, so that one search sees one version. Threads may share it."""

    def __init__(self, root: Path) -> None:
        """Opens what the gallery has now, in constant time.

        Raises:
            InputError: if there is no gallery, or it is damaged.
        """
        self.snapshot = Snapshot.read(root)
        self.main = Space(self.snapshot.spec, GalleryIndex.open(self.snapshot))
        self.duplicates = read_duplicates(root)
        store = RowStore(self.snapshot)
        self.metadata = Metadata(self.snapshot, self.duplicates, store)
        self.columns = Columns(self.snapshot, self.duplicates, store)
        self.filters = Filters(self.columns)
        self._further: dict[str, Space] = {}
        self._captions: Space | None = None
        self._lock = threading.Lock()

    @property
    def root(self) -> Path:
        """The gallery's folder."""
        return self.snapshot.root

    def space(self, name: str | None = None, over: Over = "images") -> Space:
        """A space, by the name of its encoder or a part of the name that only one has; None is the main space.

        Further spaces and captions have no index: every row is compared.

        Raises:
            InputError: if there is no such space, or several fit, or it has no vectors of captions.
        """
        spec = self.snapshot.spec if name is None else self._spec(name)
        if over == "captions":
            return self._over_captions(spec)
        if spec is self.snapshot.spec:
            return self.main
        with self._lock:
            if spec.slug not in self._further:
                self._further[spec.slug] = Space(spec, GalleryIndex(self.snapshot.in_space(spec)))
            return self._further[spec.slug]

    def _over_captions(self, spec: EncoderSpec) -> Space:
        """The captions in the main space; rows without a vector of a caption count as deleted there."""
        if spec is not self.snapshot.spec:
            raise InputError(
                f"captions are embedded by {self.snapshot.spec.name}, not by {spec.name}; leave out space or over"
            )
        with self._lock:
            if self._captions is None:
                snapshot = self.snapshot.over_captions()
                snapshot = snapshot.without(Vectors(snapshot).rows_without())
                self._captions = Space(spec, GalleryIndex(snapshot))
            return self._captions

    def calibration(self, space: Space, kind: str) -> Calibration | None:
        """What zscores of a kind of queries are relative to; None where `diantu index` has not measured it."""
        report = self.main.index.report
        found = report.calibration.get(kind) if report is not None and space is self.main else None
        return found if found is not None and found.is_usable else None

    def values(self, column: str, rows_N: np.ndarray) -> list[object]:
        """A column's values for some rows; None where a row has none.

        Raises:
            InputError: if no part has such a column.
        """
        names = self.columns.spellings(column)
        records = self.metadata.rows(rows_N, names)
        return [next((record[name] for name in names if record.get(name) is not None), None) for record in records]

    def _spec(self, name: str) -> EncoderSpec:
        specs = self.snapshot.manifest.encoders
        fitting = [spec for spec in specs if name in (spec.name, spec.slug)]
        fitting = fitting or [spec for spec in specs if name.lower() in spec.name.lower()]
        if len(fitting) != 1:
            how = "fits several" if fitting else "is not one"
            raise InputError(
                f"the space {name!r} {how} of the gallery's, which are: {', '.join(spec.name for spec in specs)}"
            )
        return fitting[0]
