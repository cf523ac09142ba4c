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
from typing import TypeVar

import numpy as np

from ...datasets import DiantuError, InputError
from ...indexing.encoders import ImageEncoder, Runtime, TextEncoder
from ...indexing.store.records import read_part
from ...indexing.store.snapshot import Snapshot, gallery_version
from ..encode import EncoderLoader
from ..gallery import Gallery
from .batching import SharedEncoders
from .problems import ProblemError
from .settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

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
        self,
        name: str,
        path: Path,
        encoder: str | ImageEncoder | None,
        device: str,
        runtime: Runtime,
        loader: EncoderLoader,
    ) -> None:
        """Opens what the folder has now; the arguments are those of `Gallery.open`.

        Raises:
            InputError: if there is no gallery, or it is damaged.
        """
        self.name = name
        for _ in range(_TRIES):
            self.version = gallery_version(path)
            self.gallery = Gallery.open(path, encoder=encoder, device=device, runtime=runtime, threads=1, loader=loader)
            if self.is_current:
                break
        self._folder = _identity(path)
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

    @property
    def is_elsewhere(self) -> bool:
        """Whether another folder is at its path now, so that what is read from now on belongs to other rows."""
        return _identity(self.snapshot.root) != self._folder

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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


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

    def still_answers(self, opened: Opened) -> bool:
        """Whether there is nothing newer than a version whose folder may have been replaced."""
        if opened.is_elsewhere:
            self.refresh()
        return self.opened is opened or not opened.is_elsewhere

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
            name: Served(name, partial(Opened, name, path, given.get(name), settings.device, settings.runtime, shared))
            for name, path in settings.galleries.items()
        }

    def __getitem__(self, name: str) -> Served:
        return self._served[name]

    def __iter__(self):
        return iter(self._served)

    def __len__(self) -> int:
        return len(self._served)

    def is_damage(self, sentence: str) -> bool:
        """Whether an error says that a file of a served gallery is damaged or gone, for which no client can help."""
        return any(
            f"{served.opened.snapshot.root}/" in sentence
            and (" is damaged" in sentence or not served.opened.is_current)
            for served in self._served.values()
        )

    def opened(self, name: str | None) -> Opened:
        """A gallery as it is now; None is the first.

        Raises:
            ProblemError: 404 if no such gallery is served.
        """
        return self._named(name).opened

    def answer(self, name: str | None, function: Callable[[Opened], T]) -> T:
        """What a function answers about a gallery. If its folder is replaced meanwhile, the function is called again.

        Changes inside the folder need no such care: an opened version goes on reading what it has opened.

        Args:
            name: of the gallery; None is the first.
            function: it must change nothing.

        Raises:
            ProblemError: 404 if no such gallery is served.
        """
        served = self._named(name)
        opened = served.opened
        try:
            answer = function(opened)
        except Exception:
            if served.still_answers(opened):
                raise
        else:
            if served.still_answers(opened):
                return answer
        return function(served.opened)

    def _named(self, name: str | None) -> Served:
        served = next(iter(self._served.values())) if name is None else self._served.get(name)
        if served is None:
            raise ProblemError(404, f"the gallery {name!r} is not served; give one of: {', '.join(self._served)}")
        return served
