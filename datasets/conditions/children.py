"""Asks processes of their own about conditions, and kills those that take too long."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..processes import python_command
from .budget import Budget
from .child import read_message, write_message
from .messages import BudgetError, NoConditionError

# One is kept for the next condition. Threads that evaluate conditions at the same time have others.
_NUM_KEPT = 1
_NUM_TOGETHER = 4


class _Child:
    """One process. Only one thread asks it at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            python_command(f"{__package__}.child", "serve"),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert self._process.stdin
        assert self._process.stdout
        self._to, self._from = self._process.stdin, self._process.stdout
        self._is_ready = False

    def wait_until_ready(self) -> None:
        """Waits for the end of its imports.

        Raises:
            OSError: if the process cannot be started.
        """
        if not self._is_ready:
            try:
                read_message(self._from)
            except EOFError as error:
                raise OSError(f"{sys.executable} cannot be started to evaluate a condition") from error
            self._is_ready = True

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, header: dict[str, Any], payload: bytes | memoryview, budget: Budget) -> tuple[dict[str, Any], bytes]:
        """One question and its answer; after an exception the process must be ended."""
        with budget.spent() as seconds:
            is_over = threading.Event()
            timer = threading.Timer(seconds, self._kill, (is_over,))
            timer.start()
            try:
                write_message(self._to, {**header, "seconds": seconds}, payload)
                answer, data = read_message(self._from)
            except (EOFError, BrokenPipeError):  # the timer ended the process, or it had no more memory
                answer, data = {"too_large": True}, b""
            finally:
                timer.cancel()
                timer.join()  # it may be about to kill the process
        if is_over.is_set():
            raise budget.exceeded()
        if "refused" in answer:
            raise NoConditionError(answer["refused"])
        if answer.get("too_large"):
            raise _too_large()
        return answer, data

    def _kill(self, is_over: threading.Event) -> None:
        is_over.set()
        self._process.kill()

    def end(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self.forget()
        self._process.wait()

    def forget(self) -> None:
        """Closes our side of the pipes, so that the process ends if nobody else has it."""
        for file in (self._process.stdin, self._process.stdout):
            with suppress(OSError):  # what was not sent yet cannot be sent any more
                file.close()  # type: ignore[union-attr]


class _Children:
    """The processes of this one. Threads may share it."""

    def __init__(self) -> None:
        self._idle: list[_Child] = []
        self._lock = threading.Lock()
        self._places = threading.BoundedSemaphore(_NUM_TOGETHER)

    @contextmanager
    def one(self, budget: Budget) -> Iterator[_Child]:
        """A process that no other thread has. It is kept, unless an evaluation in it went wrong."""
        with budget.spent() as seconds:
            if not self._places.acquire(timeout=seconds):
                raise budget.exceeded()
        try:
            child = self._taken()
            is_usable = False
            try:
                with budget.spent():
                    child.wait_until_ready()
                budget.leave_some()
                yield child
                is_usable = True
            except NoConditionError:
                is_usable = True
                raise
            finally:
                if not is_usable:
                    child.end()
                self._keep(child if is_usable else None)
        finally:
            self._places.release()

    def _taken(self) -> _Child:
        while True:
            with self._lock:
                child = self._idle.pop() if self._idle else None
            if child is None:
                return _Child()
            if child.is_alive:
                return child
            child.end()

    def _keep(self, child: _Child | None) -> None:
        """Keeps a process for the next condition; in place of one that was ended, another starts meanwhile."""
        with self._lock:
            if len(self._idle) < _NUM_KEPT:
                self._idle.append(child or _Child())
            elif child is not None:
                child.end()

    def end(self) -> None:
        """Ends the processes that wait for a condition."""
        with self._lock:
            ended, self._idle = self._idle, []
        for child in ended:
            child.end()

    def forget(self) -> None:
        """Leaves all processes to the one that this process was forked from."""
        forgotten, self._idle = self._idle, []
        for child in forgotten:
            child.forget()
        self._lock = threading.Lock()  # the other process may have held them
        self._places = threading.BoundedSemaphore(_NUM_TOGETHER)


def _too_large() -> BudgetError:
    return BudgetError("needs more than 1 GB of memory, which is the limit; simplify it")


children = _Children()
atexit.register(children.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=children.forget)
