"""The galleries of a service. Each is one opened version at a time; a new version replaces it when it is ready.

A request takes the opened version once and uses it to its end, so rows, parts and metadata always fit together.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ...datasets import DiantuError, InputError
from ...indexing.encoders import ImageEncoder, TextEncoder
from ...indexing.store.records import read_part
from ...indexing.store.snapshot import Snapshot, gallery_version
from ..encode import EncoderLoader
from ..gallery import Gallery
from .batching import SharedEncoders
from .problems import ProblemError
from .settings import Settings

log = logging.getLogger(__name__)

# A gallery may change while it is opened; then it is opened once more, but not for ever.
_TRIES = 5


class Opened:
    """One version of a served gallery. It never changes. Threads may share it.

    Attributes:
        name: the name that it is served under.
        gallery: the gallery; it is never refreshed.
        snapshot: its folder, manifest and deleted rows.
        version: 16 hex digits that change when the gallery does.
    """

    def __init__(
        self, name: str, path: Path, encoder: str | ImageEncoder | None, device: str, loader: EncoderLoader
    ) -> None:
        """Opens what the folder has now; the arguments are those of `Gallery.open`.

        Raises:
            InputError: if there is no gallery, or it is damaged.
        """
        self.name = name
        for _ in range(_TRIES):
            self.version = gallery_version(path)
            self.gallery = Gallery.open(path, encoder=encoder, device=device, threads=1, loader=loader)
            if self.is_current:
                break
        self._firsts = np.cumsum([0, *(rows for _, rows in self.snapshot.manifest.parts)])
        self._parts: dict[int, str] = {}

    @property
    def snapshot(self) -> Snapshot:
        """Its folder, manifest and deleted rows."""
        return self.gallery.snapshot

    @property
    def is_current(self) -> bool:
        """Whether the folder still has this version."""
        return self.snapshot.is_current

    def parts(self, rows: Sequence[int]) -> list[str]:
        """For each row, 12 hex digits over its part and its place: they change when the row id gets another image.

        Args:
            rows: row ids of this version.
        """
        positions = np.searchsorted(self._firsts, np.asarray(rows, np.int64), side="right") - 1
        return [self._part(position) for position in positions.tolist()]

    def _part(self, position: int) -> str:
        if (kept := self._parts.get(position)) is not None:
            return kept
        number, _ = self.snapshot.manifest.parts[position]
        record = read_part(self.snapshot.root, number)
        files = {} if record is None else record.files
        # The first row counts, too: a compaction may leave a part as it is and move it to other row ids.
        facts = [str(self._firsts[position]), *(f"{name} {files[name]['sha256']}" for name in sorted(files))]
        found = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:12]
        self._parts[position] = found
        return found

    def warm_up(self) -> None:
        """Does a search and loads the encoder, so that the first request need not wait for that.

        Raises:
            InputError: if the encoder cannot be loaded.
        """
        self.gallery.search(vector=np.ones(self.gallery.spec.dim, np.float32), k=1)
        if isinstance(self.gallery.encoder, TextEncoder):
            self.gallery.encode_texts(["warm-up"])


class Served:
    """A gallery that is served: the version that answers now, and whether it is ready.

    Attributes:
        name: the name that it is served under.
        opened: the version that answers.
        problem: why it is not ready, or why a newer version does not answer; None if all is well.
        is_ready: whether its model is loaded and one search is done.
    """

    def __init__(self, name: str, open_now: Callable[[], Opened]) -> None:
        """Opens the gallery.

        Args:
            name: the name that it is served under.
            open_now: opens what its folder has at that moment.

        Raises:
            InputError: if there is no gallery, or it is damaged.
        """
        self.name = name
        self._open = open_now
        self.opened = self._open()
        self.problem: str | None = "its model is being loaded"
        self.is_ready = False
        self._refreshing = threading.Lock()

    def warm_up(self) -> None:
        """Loads the model and does one search; what goes wrong is logged, and `problem` says it."""
        try:
            self.opened.warm_up()
        except DiantuError as error:
            self._say(f"queries that need its encoder cannot be answered: {error}")
        else:
            self.problem, self.is_ready = None, True

    def refresh(self) -> bool:
        """Opens the folder's present version if it is another one. Returns whether that now answers.

        If it cannot be opened, the version before goes on answering, and `problem` says why.
        """
        with self._refreshing:
            if self.opened.is_current:
                return False
            try:
                opened = self._open()
                if self.is_ready:
                    opened.warm_up()
            except (DiantuError, OSError) as error:
                self._say(f"it has changed and cannot be opened, so the version before goes on answering: {error}")
                return False
            self.opened = opened
            if self.is_ready:
                self.problem = None
            log.info("gallery %s: %d rows now, version %s", self.name, len(opened.gallery), opened.version)
            return True

    def _say(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("gallery %s: %s", self.name, problem)
        self.problem = problem


class Galleries(Mapping[str, Served]):
    """The galleries of a service, by their names."""

    def __init__(self, settings: Settings, encoders: Mapping[str, ImageEncoder], shared: SharedEncoders) -> None:
        """Opens them.

        Args:
            settings: names and folders.
            encoders: encoders that are loaded already, by the names of galleries.
            shared: loads all others.

        Raises:
            InputError: if one cannot be opened.
        """
        for name in (*encoders, *settings.encoders):
            if name not in settings.galleries:
                raise InputError(f"an encoder is given for the gallery {name!r}, which is not served")
        given: dict[str, str | ImageEncoder] = {**settings.encoders}
        given |= {name: shared.batched(encoder) for name, encoder in encoders.items()}
        self._served = {
            name: Served(name, partial(Opened, name, path, given.get(name), settings.device, shared))
            for name, path in settings.galleries.items()
        }

    def __getitem__(self, name: str) -> Served:
        return self._served[name]

    def __iter__(self):
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)

    def opened(self, name: str | None) -> Opened:
        """A gallery as it is now; None is the first.

        Raises:
            ProblemError: 404 if no such gallery is served.
        """
        served = next(iter(self._served.values())) if name is None else self._served.get(name)
        if served is None:
            raise ProblemError(404, f"the gallery {name!r} is not served; give one of: {', '.join(self._served)}")
        return served.opened
