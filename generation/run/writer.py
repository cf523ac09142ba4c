"""Writes the pictures of a run: encodes and writes them while the model makes the next ones."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ...datasets.files import sha256, write_atomic
from .journal import PICTURES, Journal, Row, encode_png

_THREADS = min(4, os.cpu_count() or 1)  # that encode; Pillow releases the GIL


class Writer:
    """Encodes pictures in several threads and writes them in one, so that the model does not wait."""

    def __init__(self, root: Path, journal: Journal, bar: tqdm, max_pending: int) -> None:
        self._root = root
        self._journal = journal
        self._bar = bar
        self._max_pending = max_pending
        self._num_failed = 0
        self._encoding = ThreadPoolExecutor(_THREADS, "encode")
        self._writing = ThreadPoolExecutor(1, "write")
        self._pending: deque[Future[Row]] = deque()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Writes what was handed over, also when the job is stopped."""
        self._writing.shutdown()
        self._encoding.shutdown()
        self._journal.close()

    def put(self, row: Row, image: Image.Image | None = None, speed: Row | None = None) -> None:
        """Hands over a row and its picture, if there is one. `speed` goes into the row, but not into the PNG."""
        encoded = None if image is None else self._encoding.submit(encode_png, image, row)
        self._pending.append(self._writing.submit(self._write, {**row, **(speed or {})}, encoded))
        while len(self._pending) > self._max_pending:
            self._wait()

    def finish(self) -> None:
        """Waits until everything is written."""
        while self._pending:
            self._wait()

    def _wait(self) -> None:
        row = self._pending.popleft().result()
        self._num_failed += row["status"] == "failed"
        self._bar.set_postfix(failed=self._num_failed, refresh=False)
        self._bar.update()

    def _write(self, row: Row, encoded: Future[bytes] | None) -> Row:
        if encoded is not None:
            data, file = encoded.result(), f"{PICTURES}/{row['name']}.png"
            write_atomic(self._root / file, data)
            row = {**row, "file": file, "sha256": sha256(data)}
        self._journal.append(row)  # after its picture, so that a row never names a file that does not exist
        return row
