"""Recently used bytes, within a limit of memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable


class BytesCache:
    """Keeps bytes by a key; those used last stay. Threads may share it."""

    def __init__(self, most_bytes: int) -> None:
        """`most_bytes`: what all values may take together."""
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """What all values take."""
        return self._num_bytes

    def get(self, key: Hashable) -> bytes | None:
        """The bytes of a key, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, value: bytes) -> None:
        """Keeps the bytes of a key, and drops those that were not used for the longest time."""
        if len(value) > self._most_bytes:
            return
        with self._lock:
            self._num_bytes += len(value) - len(self._kept.pop(key, b""))
            self._kept[key] = value
            while self._num_bytes > self._most_bytes:
                self._num_bytes -= len(self._kept.popitem(last=False)[1])
