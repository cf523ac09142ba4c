"""What the service costs beside a search in the process, and what it gains by encoding texts together, in one run.

    python -m diantu.scripts.bench_serve --output FOLDER [--rows 1000000] [--peer ENVIRONMENT]

The gallery is synthetic (see `bench.generator`). The service runs in a process of its own, and the clients in this one,
on the same machine. Texts are encoded by a model of the size of CLIP ViT-B with random weights.

1. Vector queries, 12 hits with metadata, one client: p50 of `POST /v1/search` ÷ p50 of `Gallery.search`. Both are asked
   in turns, so that a slow minute of the machine affects both alike.
2. Text queries: requests per second of 16 clients ÷ those of one client.
3. With `--peer`, an environment with clip-retrieval 2.45: vector queries to `POST /knn-service`, 12 hits with metadata,
   16 clients, requests per second of our service ÷ those of clip-retrieval's back end. Both have the same vectors and
   metadata, each its own default index, and are asked in turns.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..indexing.build.job import build_index
from ..indexing.build.request import IndexRequest
from ..indexing.index.report import read_report
from ..indexing.store.snapshot import Snapshot
from ..search import Gallery
from .bench.clip_retrieval import back_end
from .bench.load import milliseconds, per_second
from .bench.table import Line, print_targets
from .bench.vectors import Bench, synthetic
from .commands.common import print_json
from .main import call

_K = 12
_CLIENTS = 16
_ROUNDS = 10  # turns of the service and the process
_TURNS = 5  # of our service and clip-retrieval's
_TIMES, _MORE_MS, _GAIN, _PEER = 2.0, 3.0, 2.5, 5.0
_CLIENT = {"indice_name": "bench", "modality": "image", "num_images": _K, "num_result_ids": _K}
_WORDS = ("red", "blue", "old", "castle", "sea", "night", "photograph", "of", "a", "the", "panda", "bamboo", "bridge")


def run(
    output: str,
    rows: int = 1_000_000,
    queries: int = 500,
    texts: int = 320,
    peer: str | None = None,
    peer_model: str = "ViT-B/32",
    json_: bool = False,
    seed: int = 0,
) -> int:
    """Measures the service and prints what it reaches.

    Args:
        output: the folder for the gallery; what is in it already is used again.
        rows: number of vectors to search.
        queries: number of vector queries.
        texts: number of text queries.
        peer: a virtual environment with clip-retrieval, to compare with its back end.
        peer_model: the CLIP model that its back end loads when it starts, for example hf_clip:FOLDER.
        json_: print the results as JSON on stdout.
        seed: the seed of the vectors and the queries.
    """
    bench = synthetic(Path(output) / "vectors", rows, seed=seed)
    if read_report(Snapshot.read(bench.gallery)) is None:
        build_index(bench.gallery, None, request=IndexRequest(target_recall=0.95, tune_queries=bench.tuning))
    with _serving(bench.gallery) as url:
        lines = [*_overhead(bench, url, queries), _batching(url, texts, seed)]
        if peer is not None:
            folder = Path(output) / "clip-retrieval"
            folder.mkdir(exist_ok=True)
            with back_end(Path(peer), peer_model, bench.gallery, folder) as peer_url:
                lines.append(_beside(bench, url, peer_url, queries))
    if json_:
        print_json({"rows": rows, "lines": [asdict(line) for line in lines]})
    else:
        print_targets(lines)
    return 0


@contextlib.contextmanager
def _serving(gallery: Path) -> Iterator[str]:
    """A service in a process of its own: its URL."""
    command = [sys.executable, "-m", f"{__package__}.bench.service", str(gallery)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError("the service has not started")
        try:
            yield url
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def _overhead(bench: Bench, url: str, num_queries: int) -> list[Line]:
    """Times single vector queries, by the service and in this process."""
    queries_QD = np.load(bench.queries("text"))[:num_queries]
    gallery = Gallery.open(bench.gallery, threads=1)
    bodies = [{"vector": emb_D.tolist(), "k": _K} for emb_D in queries_QD]
    _within(gallery, queries_QD[:20])
    milliseconds(url, "/v1/search", bodies[:20])
    served: list[float] = []
    within: list[float] = []
    for low in np.linspace(0, len(queries_QD), _ROUNDS, endpoint=False, dtype=int).tolist():
        these = slice(low, low + -(-len(queries_QD) // _ROUNDS))
        within += _within(gallery, queries_QD[these])
        served += milliseconds(url, "/v1/search", bodies[these])
    ours, theirs = statistics.median(served), statistics.median(within)
    return [
        Line(
            what="p50 of /v1/search ÷ p50 of Gallery.search",
            value=f"{ours / theirs:.2f}× ({ours:.2f} ms, {theirs:.2f} ms)",
            target=f"≤ {_TIMES:.0f}×",
            met=ours <= _TIMES * theirs,
        ),
        Line(
            what="p50 of /v1/search − p50 of Gallery.search",
            value=f"{ours - theirs:.2f} ms",
            target=f"≤ {_MORE_MS:.0f} ms",
            met=ours - theirs <= _MORE_MS,
        ),
    ]


def _within(gallery: Gallery, queries_QD: np.ndarray) -> list[float]:
    found = []
    for emb_D in queries_QD:
        started = time.perf_counter()
        gallery.search(vector=emb_D, k=_K)
        found.append(1000 * (time.perf_counter() - started))
    return found


def _batching(url: str, num_texts: int, seed: int) -> Line:
    """Requests per second by texts, by one client and by many."""
    rng = np.random.default_rng(seed)
    num_by_one = -(-num_texts // 4)
    # No text twice: the vectors of recent ones are kept.
    bodies = [
        {"text": f"{number} " + " ".join(rng.choice(_WORDS, rng.integers(3, 12)).tolist()), "k": _K}
        for number in range(_CLIENTS + num_by_one + num_texts)
    ]
    warm_up, by_one, by_many = bodies[:_CLIENTS], bodies[_CLIENTS:-num_texts], bodies[-num_texts:]
    per_second(url, "/v1/search", warm_up, clients=_CLIENTS)
    one = per_second(url, "/v1/search", by_one, clients=1)
    many = per_second(url, "/v1/search", by_many, clients=_CLIENTS)
    return Line(
        what=f"text queries per second, {_CLIENTS} clients ÷ 1 client",
        value=f"{many / one:.2f}× ({many:.1f}, {one:.1f})",
        target=f"≥ {_GAIN}×",
        met=many >= _GAIN * one,
    )


def _beside(bench: Bench, url: str, peer_url: str, num_queries: int) -> Line:
    """Requests per second of clip-retrieval's clients, answered by us and by its own back end, asked in turns."""
    queries_QD = np.load(bench.queries("text"))[:num_queries]
    bodies = [{**_CLIENT, "embedding_input": emb_D.tolist()} for emb_D in queries_QD]
    speeds: dict[str, list[float]] = {url: [], peer_url: []}
    for each in speeds:
        per_second(each, "/knn-service", bodies[:_CLIENTS], clients=_CLIENTS)
    for _ in range(_TURNS):
        for each, found in speeds.items():
            found.append(per_second(each, "/knn-service", bodies, clients=_CLIENTS))
    ours, theirs = (statistics.median(found) for found in speeds.values())
    return Line(
        what=f"requests per second, {_CLIENTS} clients ÷ clip-retrieval's back end",
        value=f"{ours / theirs:.2f}× ({ours:.1f}, {theirs:.1f})",
        target=f"≥ {_PEER:.0f}×",
        met=ours >= _PEER * theirs,
    )


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_serve", sys.argv[1:]))
