"""The pool refuses what does not fit, and nobody waits beyond the deadline."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from diantu.search.service.pool import Pool
from diantu.search.service.problems import ProblemError


def test_what_does_not_fit_is_refused_and_all_else_is_answered() -> None:
    pool, go_on = Pool(threads=2, queue=3, deadline=60), threading.Event()

    def work(number: int) -> int:
        assert go_on.wait(60)
        return number

    async def run() -> list[object]:
        tasks = [asyncio.create_task(pool.run(work, number)) for number in range(9)]
        await asyncio.sleep(0.1)
        assert (pool.num_running, pool.num_waiting) == (2, 3)
        go_on.set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)
        assert (pool.num_running, pool.num_waiting) == (0, 0)
        assert await pool.run(work, 100) == 100
        return answers

    answers = asyncio.run(run())
    pool.close()
    assert answers[:5] == [0, 1, 2, 3, 4]
    refused = answers[5:]
    assert all(isinstance(each, ProblemError) and each.status == 429 for each in refused)
    assert isinstance(refused[0], ProblemError)
    assert refused[0].headers == {"Retry-After": "1"}


def test_a_deadline_ends_the_wait_but_not_the_work() -> None:
    pool, done = Pool(threads=1, queue=5, deadline=0.2), []

    async def run() -> None:
        first = asyncio.create_task(pool.run(lambda: (time.sleep(0.6), done.append("first"))))
        second = asyncio.create_task(pool.run(lambda: done.append("second")))
        for task in (first, second):
            with pytest.raises(ProblemError) as late:
                await task
            assert late.value.status == 504
        assert pool.num_running == 1  # the first goes on; the second was never begun
        await asyncio.sleep(0.8)
        assert pool.num_running == 0

    asyncio.run(run())
    pool.close()
    assert done == ["first"]


def test_errors_are_passed_on() -> None:
    pool = Pool(threads=1, queue=0, deadline=5)

    def fail(error: Exception) -> None:
        raise error

    async def run() -> None:
        for error in (ValueError("a"), TimeoutError("b"), ProblemError(410, "c")):
            with pytest.raises(type(error)) as raised:
                await pool.run(fail, error)
            assert raised.value is error

    asyncio.run(run())
    pool.close()
