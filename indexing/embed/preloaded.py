"""What the process imports that processes of a job are forks of; nothing else may import it.

A process of a job can lose the job at any moment: while it starts, or while it hands over a batch. It then ends, and
what it would report is only that nobody is there any more.
"""

from __future__ import annotations

import sys
from types import TracebackType

# What the first image of a process would import: the filesystem of local files, numpy's median, Pillow's plugins.
import fsspec.implementations.local  # noqa: F401
import numpy.ma  # noqa: F401
from PIL import Image

from . import loop  # noqa: F401

Image.preinit()

# A pipe without its other end, and a semaphore that was removed with the job.
_ALONE = (BrokenPipeError, ConnectionResetError, EOFError, FileNotFoundError)


def _report(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """For what starts a process, and for threads that hand over batches; other errors reach the job by themselves."""
    if not isinstance(error, _ALONE):
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _report
