"""Processes of a job as forks of one that has imported what they need, and their end with the job's own process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from typing import Any

_GOODBYE_SECONDS = 15.0  # for a process to end in order, before it is killed


def forkserver() -> ForkServerContext:
    """Starts processes as forks of one that has imported the loop, and done nothing else.

    They share the 400 MB that torch takes at its import, and start at once. Not forks of this process: after OpenMP,
    CUDA or FAISS has run in a process, its forked child may hang. They ignore Ctrl-C from their start: it reaches them
    too, but the job ends them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"{__package__}.preloaded"])
    with _ignoring_interrupts():
        ensure_running()
    return context


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """What is started within inherits it. Only the main thread may set it, and only there Ctrl-C has a meaning."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def ignore_gone_readers() -> None:
    """Lets this process end without a traceback where what it still had to send has no reader any more.

    A job that is stopped ends its processes, and the thread of a queue would print last that its pipe is broken. The
    hook is the one that concurrent.futures overrides.
    """
    queue: Any = Queue
    report = queue._on_queue_feeder_error

    def unless_gone(error: BaseException, item: object) -> None:
        if not isinstance(error, BrokenPipeError):
            report(error, item)

    queue._on_queue_feeder_error = staticmethod(unless_gone)


def ended(process: BaseProcess) -> int | None:
    """Waits for the end of a process that was told to end, for a while, before it is killed; returns its exit code."""
    process.join(_GOODBYE_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def end_with_parent() -> None:
    """Ends this process when the one that asked for it dies, which need not be the one that it is a fork of."""
    threading.Thread(target=_wait, daemon=True).start()


def _wait() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "a process of a job has a parent"
    parent.join()
    os._exit(1)
