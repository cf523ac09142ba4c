"""The memory of processes, without pages of files: the system can drop those at any time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

_SAMPLING_SECONDS = 0.02


def private_bytes(process: int | str = "self") -> int:
    """The private memory of a process, in bytes.

    Args:
        process: its number, or "self".

    Raises:
        OSError, IndexError: if the process has ended.
    """
    return 1024 * int(Path(f"/proc/{process}/status").read_text().partition("RssAnon:")[2].split()[0])


@contextlib.contextmanager
def peak_memory(process: int) -> Iterator[list[int]]:
    """Samples the private memory of a process while the block runs; yields a list of one number of bytes, the peak."""
    peak, over = [0], threading.Event()

    def sample() -> None:
        while not over.wait(_SAMPLING_SECONDS):
            with contextlib.suppress(OSError, IndexError):  # the process has ended
                peak[0] = max(peak[0], private_bytes(process))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()
