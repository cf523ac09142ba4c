"""Processes of a job as forks of one that has imported what they need, and their end with the job's own process."""

from __future__ import annotations

import multiprocessing
import os
import threading
from multiprocessing.context import ForkServerContext


def forkserver() -> ForkServerContext:
    """Starts processes as forks of one that has imported the loop, and done nothing else.

    They share the 400 MB that torch takes at its import, and start at once. Not forks of this process: after OpenMP,
    CUDA or FAISS has run in a process, its forked child may hang.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.loop"])
    return context


def end_with_parent() -> None:
    """Ends this process when the one that asked for it dies, which need not be the one that it is a fork of."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process of a job has a parent"
    parent.join()
    os._exit(1)
