"""One gallery serves many threads while rows are added, deleted and folded in.

`DIANTU_REQUESTS=10000` sends 10 000 requests, and `--log-cli-level=INFO` reports the memory they took; by default 300
are sent.
"""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import plant, unit

from diantu.indexing.build.job import build_index
from diantu.indexing.build.request import IndexRequest
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.upkeep.deletion import delete
from diantu.search import Gallery, Hits, Query

log = logging.getLogger(__name__)

REQUESTS = int(os.environ.get("DIANTU_REQUESTS", "300"))
CHANGES = max(12, REQUESTS // 200)
THREADS, DIM = 8, 16
NUM_FIRST, NUM_ADDED = 3000, 40
# What a process may grow by from the second quarter of the requests to the last: rows come in meanwhile, and of few
# requests the first ones still fill caches.
GROWTH_BYTES = 64 << 20


class Words:
    """A text encoder: every text has a vector of its own."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec = spec

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        vectors = [np.random.default_rng(sum(text.encode())).standard_normal(DIM) for text in texts]
        return unit(np.stack(vectors)).astype(np.float32)


def vectors(seed: int, count: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, DIM)))


def records(count: int) -> list[dict[str, Any]]:
    return [{"width": 64 + 7 * i % 2000, "punsafe": i % 10 / 10} for i in range(count)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = plant(tmp_path / "g", vectors(0, NUM_FIRST), records(NUM_FIRST), num_parts=3)
    build_index(folder, None, request=IndexRequest(factory="IVF32,PQ8x4fs"))
    return folder


def ask(gallery: Gallery, number: int) -> list[Hits]:
    """One of many kinds of requests."""
    rng = random.Random(number)
    vector = vectors(1000 + number, 1)[0]
    k = rng.choice([1, 5, 12, 40])
    kinds: list[Callable[[], Hits | list[Hits]]] = [
        lambda: gallery.search(vector=vector, k=k),
        lambda: gallery.search(f"文字 {number % 50}", k=k),
        lambda: gallery.search(vector=vector, k=k, where=f"width > {rng.randrange(64, 2000)}"),
        lambda: gallery.search(f"text {number % 50}", k=k, where="punsafe < 0.3", missing="include"),
        lambda: gallery.search(Query(rows=[rng.randrange(NUM_FIRST)], negatives=["x"]), k=k),
        lambda: gallery.search(vector=vector, k=k, diversity=0.5, offset=k),
        lambda: gallery.search(vector=vector, k=k, sort_by="-width"),
        lambda: gallery.search(vector=vector, k=k, min_score=0.2, effort="exact"),
        lambda: gallery.search_many(["a", Query(vector=vector), "b"], k=k, where="width < 900"),
    ]
    found = kinds[number % len(kinds)]()
    return found if isinstance(found, list) else [found]


class Changes:
    """Adds, deletes and folds in, and says what no later request may find."""

    def __init__(self, root: Path, gallery: Gallery) -> None:
        self.root, self.gallery = root, gallery
        self.gone: set[str] = set()
        self.num_rows = NUM_FIRST

    def make(self, number: int) -> None:
        if number % 3 == 0:
            plant(self.root, vectors(number, NUM_ADDED), records(NUM_ADDED))
            self.num_rows += NUM_ADDED
        elif number % 3 == 1:
            keys = [str(row) for row in random.Random(number).sample(range(self.num_rows), 25)]
            delete(self.root, keys=keys)
            self.gallery.refresh()
            self.gone |= set(keys)  # only now: searches that began before may still find them
            return
        else:
            build_index(self.root, None)
        self.gallery.refresh()


def private_bytes() -> int:
    return 1024 * int(Path("/proc/self/status").read_text().partition("RssAnon:")[2].split()[0])


@pytest.mark.slow
@pytest.mark.timeout(300 + REQUESTS // 10)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_many_requests_while_the_gallery_changes(root: Path) -> None:
    gallery = Gallery.open(root, encoder=Words(read_manifest(root).spec), threads=1)  # type: ignore[arg-type]
    changes, held, done = Changes(root, gallery), [], threading.Semaphore(0)

    def change() -> None:
        for number in range(CHANGES):
            for _ in range(REQUESTS // CHANGES):
                assert done.acquire(timeout=60)
            changes.make(number)

    def request(number: int) -> int:
        gone = set(changes.gone)
        try:
            answers = ask(gallery, number)
        finally:
            done.release()
        if number % 15 == 0:
            held.append(private_bytes())
        for hits in answers:
            assert not {hit.key for hit in hits} & gone, "a row that was deleted before the request"
            assert [hit.rank for hit in hits] == list(range(hits[0].rank, hits[0].rank + len(hits))) if hits else True
        return sum(len(hits) for hits in answers)

    with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(1) as changing:
        changed = changing.submit(change)
        counts = list(pool.map(request, range(REQUESTS)))
        changed.result()
    assert len(changes.gone) >= 25 * CHANGES // 4
    assert sum(count > 0 for count in counts) > 0.9 * REQUESTS
    quarter = len(held) // 4
    growth = np.median(held[-quarter:]) - np.median(held[quarter : 2 * quarter])
    assert growth < GROWTH_BYTES, f"{growth / 1e6:.0f} MB"
    log.info("%d requests, %d changes, memory %+.1f MB", REQUESTS, CHANGES, growth / 1e6)


def test_a_search_that_began_goes_on_with_its_version(root: Path) -> None:
    gallery = Gallery.open(root, encoder=Words(read_manifest(root).spec))  # type: ignore[arg-type]
    before = gallery.search(vector=vectors(5, 1)[0], k=5)
    delete(root, keys=[hit.key for hit in before])
    assert [hit.key for hit in gallery.search(vector=vectors(5, 1)[0], k=5)] == [hit.key for hit in before]
    assert gallery.refresh()
    assert not gallery.refresh()
    after = gallery.search(vector=vectors(5, 1)[0], k=5)
    assert not {hit.key for hit in after} & {hit.key for hit in before}
