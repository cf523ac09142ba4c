"""What the columns of served galleries hold, found once for each version and in the background."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from ...datasets import DiantuError
from ...indexing.store.facets import Facets

if TYPE_CHECKING:
    from .served import Opened

log = logging.getLogger(__name__)


class FacetsOfVersions:
    """The facets of each version of a gallery that someone has asked for. Threads may share it."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[Opened, Facets | None] = WeakKeyDictionary()
        self._lock = threading.Lock()
        self._one_at_a_time = threading.Lock()

    def of(self, opened: Opened) -> Facets | None:
        """The facets of a version; None while they are being found, which the first call begins."""
        with self._lock:
            if opened not in self._found:
                self._found[opened] = None
                threading.Thread(target=self._find, args=(opened,), name="facets", daemon=True).start()
            return self._found[opened]

    def _find(self, opened: Opened) -> None:
        with self._one_at_a_time:
            try:
                found = opened.gallery.facets()
            except (DiantuError, OSError) as error:
                log.warning("gallery %s: what its columns hold is not known: %s", opened.name, error)
                found = Facets(columns=(), licences=(), num_rows=0)
            with self._lock:
                self._found[opened] = found
