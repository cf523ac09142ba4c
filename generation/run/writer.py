"""Writing what a run makes: pictures are encoded and written while the model makes the next ones."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ...datasets.files import sha256, write_atomic
from .folder import PICTURES
from .journal import Manifest, Row, encode_png

# That encode pictures: Pillow lets others run meanwhile.
_THREADS = min(4, os.cpu_count() or 1)


class Writer:
    """Encodes pictures in some threads and writes them in one, so that the model does not wait."""

    def __init__(self, root: Path, manifest: Manifest, bar: tqdm, most_pending: int) -> None:
        self._root = root
        self._manifest = manifest
        self._bar = bar
        self._most_pending = most_pending
        self._num_failed = 0
        self._encoding = ThreadPoolExecutor(_THREADS, "encode")
        self._writing = ThreadPoolExecutor(1, "write")
        self._pending: deque[Future[Row]] = deque()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """What was handed over is written, also when the job is stopped."""
        self._writing.shutdown()
        self._encoding.shutdown()
        self._manifest.close()

    def put(self, row: Row, image: Image.Image | None = None, speed: Row | None = None) -> None:
        """Hands over a row, and its picture if there is one; `speed` is not told inside the picture."""
        encoded = None if image is None else self._encoding.submit(encode_png, image, row)
        self._pending.append(self._writing.submit(self._write, {**row, **(speed or {})}, encoded))
        while len(self._pending) > self._most_pending:
            self._wait()

    def finish(self) -> None:
        """Waits until all is written."""
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
        self._manifest.append(row)  # behind its picture: a row that is there tells the truth
        return row
