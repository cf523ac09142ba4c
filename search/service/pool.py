"""A bounded pool of threads: what does not fit into its queue is refused, and nobody waits beyond a deadline."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .problems import ProblemError

T = TypeVar("T")
_RETRY_SECONDS = 1


class Pool:
    """Runs functions in threads for coroutines of one event loop."""

    def __init__(self, threads: int, queue: int, deadline: float) -> None:
        """See `Settings`."""
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="search")
        self.threads = threads
        self.deadline = deadline
        self._most = threads + queue
        self._unfinished = 0

    @property
    def num_running(self) -> int:
        """Functions that threads work on."""
        return min(self._unfinished, self.threads)

    @property
    def num_waiting(self) -> int:
        """Functions that wait for a thread."""
        return max(self._unfinished - self.threads, 0)

    async def run(self, function: Callable[..., T], *arguments: object, seconds: float | None = None) -> T:
        """The result of a function that a thread calls.

        Args:
            function: what to call.
            arguments: its arguments.
            seconds: how long to wait; by default the pool's deadline.

        Raises:
            ProblemError: 429 if too many wait already; 504 if it takes too long. A function that has begun is not
                stopped: it keeps its thread until it ends.
        """
        if self._unfinished >= self._most:
            raise ProblemError(
                429,
                f"{self.num_waiting} requests wait already; try again in {_RETRY_SECONDS} s",
                {"Retry-After": str(_RETRY_SECONDS)},
            )
        loop = asyncio.get_running_loop()
        seconds = self.deadline if seconds is None else seconds
        self._unfinished += 1
        future = self._executor.submit(function, *arguments)
        future.add_done_callback(lambda done: self._finish(loop, done))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future, loop=loop), seconds)
        except asyncio.TimeoutError:
            if future.done() and not future.cancelled() and (error := future.exception()) is not None:
                raise error from None  # the function's own
            raise ProblemError(504, f"it took longer than {seconds:.3g} s; ask for less, or try again later") from None

    def close(self) -> None:
        """Lets what runs finish, drops what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _finish(self, loop: asyncio.AbstractEventLoop, future: Future[T]) -> None:
        """Counts down in the loop's own thread, so that the count needs no lock."""
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(self._count_down)

    def _count_down(self) -> None:
        self._unfinished -= 1
