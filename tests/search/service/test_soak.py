"""A service answers many clients while rows come and go underneath: nothing wrong, nothing lost, nothing leaks.

`DIANTU_REQUESTS=100000` sends that many requests; by default 360 are sent.
"""

from __future__ import annotations

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from planted import plant, unit
from services import DIM, planted, running, wait_for

from diantu.indexing.build.job import build_index
from diantu.indexing.store.snapshot import gallery_version
from diantu.indexing.upkeep.deletion import delete

REQUESTS = int(os.environ.get("DIANTU_REQUESTS", "360"))
CHANGES = max(9, REQUESTS // 500)
CLIENTS = 8
NUM_FIRST, NUM_ADDED, NUM_DELETED = 600, 20, 10
# What the process may grow by from the second quarter of the requests to the last, beside the files of added parts:
# each is open once in the version that answers, and once in the one before while requests use it.
GROWTH_BYTES, GROWTH_FILES = 64 << 20, 20


def request(number: int) -> tuple[str, dict[str, Any]]:
    """One of many kinds of requests."""
    rng = random.Random(number)
    vector = np.random.default_rng(number).standard_normal(DIM).tolist()
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("search", {"vector": vector, "k": 20}),
        ("search", {"text": f"文字 {number % 50}", "k": 5, "where": f"width > {rng.randrange(100, 600)}"}),
        ("search", {"rows": [rng.randrange(20)], "k": 12, "with_vectors": True}),
        ("search", {"text": "a", "negatives": ["b"], "k": 12, "offset": 12, "diversity": 0.3}),
        ("search/batch", {"queries": [{"text": "c"}, {"vector": vector}], "k": 7}),
        ("embeddings", {"model": "g", "input": [f"text {number}"]}),
    ]
    return kinds[number % len(kinds)]


class Changes:
    """Adds and deletes rows and builds the index, and says which keys no later answer may have."""

    def __init__(self, root: Path, url: str) -> None:
        self.root, self.url = root, url
        self.gone: set[str] = set()
        self.num_rows, self.num_parts = NUM_FIRST, 3

    def make(self, number: int) -> None:
        if number % 3 == 0:
            plant(self.root, unit(np.random.default_rng(number).standard_normal((NUM_ADDED, DIM))))
            self.num_rows, self.num_parts = self.num_rows + NUM_ADDED, self.num_parts + 1
        elif number % 3 == 1:
            first = 20 + NUM_DELETED * (number // 3)  # rows below are asked for by their ids
            keys = [str(row) for row in range(first, min(first + NUM_DELETED, self.num_rows))]
            delete(self.root, keys=keys)
            wait_for(lambda: self._version() == gallery_version(self.root))
            self.gone |= set(keys)  # only now: requests that began before may still find them
        else:
            build_index(self.root, None)

    def _version(self) -> str:
        return httpx.post(f"{self.url}v1/search", json={"rows": [0], "k": 1}, timeout=60).json()["version"]


def held() -> tuple[int, int]:
    """Bytes of private memory, and open files."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0]), len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
@pytest.mark.timeout(300 + REQUESTS // 10)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_many_requests_while_the_gallery_changes(tmp_path: Path) -> None:
    root = planted(tmp_path / "g", num_rows=NUM_FIRST)
    measured: list[tuple[int, int, int]] = []
    done = threading.Semaphore(0)
    with running(root, refresh_seconds=0.05, deadline=60.0) as url, ThreadPoolExecutor(CLIENTS) as pool:
        changes = Changes(root, url)
        connections = threading.local()

        def change() -> None:
            for number in range(CHANGES):
                for _ in range(REQUESTS // CHANGES):
                    assert done.acquire(timeout=120)
                changes.make(number)

        def ask(number: int) -> int:
            if not hasattr(connections, "client"):
                connections.client = httpx.Client(base_url=url, timeout=120)
            path, body = request(number)
            gone = set(changes.gone)
            try:
                answer = connections.client.post(f"/v1/{path}", json=body)
            finally:
                done.release()
            assert answer.status_code == 200, answer.text
            if number % 20 == 0:
                measured.append((*held(), changes.num_parts))
            found = answer.json()
            for one in found.get("answers", [found]) if path != "embeddings" else ():
                hits = one["hits"]
                assert not {hit["key"] for hit in hits} & gone, "a row that was deleted before the request"
                first = body.get("offset", 0) + 1
                assert [hit["rank"] for hit in hits] == list(range(first, first + len(hits)))
            return 1

        with ThreadPoolExecutor(1) as changing:
            changed = changing.submit(change)
            assert sum(pool.map(ask, range(REQUESTS))) == REQUESTS
            changed.result()
    quarter = len(measured) // 4
    early, late = (np.median(part, axis=0) for part in (measured[quarter : 2 * quarter], measured[-quarter:]))
    assert len(changes.gone) >= NUM_DELETED * (CHANGES // 3)
    assert late[0] - early[0] < GROWTH_BYTES
    assert late[1] - early[1] < GROWTH_FILES + 2 * (late[2] - early[2])
