"""One engine of `bench_index` in a process of its own, so that its memory and its threads are its own.

    python -I peers.py build ENGINE JOB
    python -I peers.py serve ENGINE JOB

JOB is JSON: `vectors` (folder of float16 .npy files, in the order of their names), `num_rows`, `dim`, `kinds` (kind of
queries → files of queries and of exact answers), `kind` (which is timed), `folder` (for what the engine keeps),
`target`, `threads`, `memory_budget`, and what one engine alone needs. Answers are lines of JSON on stdout; whatever
libraries print goes to stderr. `serve` opens the index and answers with its memory; then, for every line of stdin,
which is a recall, it makes one timed pass at the least breadth that reaches it. Peers run in an environment without
diantu, so nothing of it is imported here but by the engine `diantu`.

Breadths are searched for with the very queries that measure, in favour of the peers; diantu's own starts from what it
was tuned to on other queries, and may only grow until it reaches the recall.

Shapes: Q queries, D dimension, K results.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

K = 10
_BLOCK = 50_000
# A timed pass ends after this many seconds, but not before some queries; the first ones warm the caches up.
_PASS_SECONDS, _LEAST_TIMED, _WARM_UP = 20.0, 50, 20
# A doubled breadth that adds less recall than this will not reach more.
_PLATEAU = 0.001

Job = dict[str, Any]


class _Engine:
    """What is measured. `breadth` names the parameter that is widened until the recall is reached."""

    breadth = ""
    modules: tuple[str, ...] = ()

    def build(self, job: Job) -> dict[str, Any]:
        """Makes the index and keeps it in the job's folder; returns facts about it."""
        raise NotImplementedError

    def open(self, job: Job) -> None:
        """Reads what was kept, to search with one thread."""
        raise NotImplementedError

    def span(self, target: float) -> tuple[int, int]:
        """The least breadth that is tried for a recall, and the most."""
        del target
        return K, 4096

    def widen(self, breadth: int) -> None:
        """Sets the breadth of the searches to come."""

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        """`rows_QK`."""
        raise NotImplementedError

    def extra(self, job: Job) -> dict[str, Any]:
        """Further facts, measured when it is open."""
        del job
        return {}


class _Diantu(_Engine):
    """The gallery's own index. The breadth is in per cent of what it was tuned to."""

    breadth = "% of the tuned breadth"
    modules = ("faiss", "torch", "diantu.indexing.build.job")

    def build(self, job: Job) -> dict[str, Any]:
        from diantu.indexing.build.job import build_index  # type: ignore[reportMissingImports]
        from diantu.indexing.build.request import IndexRequest  # type: ignore[reportMissingImports]

        request = IndexRequest(
            target_recall=job["target"],
            memory_budget=None if job["factory"] else job["memory_budget"],
            factory=job["factory"],
            tune_queries=Path(job["tuning"]) if job["tuning"] else None,
            rebuild=True,
        )
        report = build_index(Path(job["gallery"]), None, request=request)
        return {
            "index": report["spec"]["factory"],
            "train_and_add_seconds": report["build_seconds"],
            "bytes_per_row": report["bytes_per_row"],
            "report": report,
        }

    def open(self, job: Job) -> None:
        from diantu.indexing.index.opened import GalleryIndex  # type: ignore[reportMissingImports]
        from diantu.indexing.store.manifest import read_manifest  # type: ignore[reportMissingImports]

        root = Path(job["gallery"])
        self._index = GalleryIndex.open(root, read_manifest(root))
        self._kind, self._asked, self._percent = job["kind"], job["target"], 100

    def span(self, target: float) -> tuple[int, int]:
        """For the recall that it was tuned to, never less than what users get."""
        return (100 if target >= self._asked else 5), 800

    def widen(self, breadth: int) -> None:
        self._percent = breadth

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        from diantu.indexing.index.effort import Breadth  # type: ignore[reportMissingImports]

        if self._percent == 100:  # as users do
            return self._index.search(queries_QD, K, kind=self._kind)[1]
        tuned = self._index.breadth("balanced", self._kind, K)
        if tuned is None:
            return self._index.search_at(queries_QD, K, None)[1]
        nprobe, candidates = (value * self._percent // 100 for value in (tuned.nprobe, tuned.candidates))
        breadth = Breadth(nprobe=max(nprobe, 1), candidates=max(candidates, K))
        return self._index.search_at(queries_QD, K, breadth)[1]

    def extra(self, job: Job) -> dict[str, Any]:
        """The recall that users get, by the kind of queries: they were not used to tune."""
        delivers = {}
        for kind, (queries, exact) in job["kinds"].items():
            _, rows_QK = self._index.search(np.load(queries), K, kind=kind)
            delivers[kind] = round(recall(rows_QK, np.load(exact)), 4)
        tuned = {kind: self._index.breadth("balanced", kind, K) for kind in job["kinds"]}
        described = {
            kind: f"{b.nprobe} lists, {b.candidates} candidates" if b else "exact" for kind, b in tuned.items()
        }
        return {"delivers": delivers, "tuned": described}


class _Exact(_Engine):
    """FAISS's exact search over float32 in memory."""

    modules = ("faiss",)

    def build(self, job: Job) -> dict[str, Any]:
        """There is nothing to keep."""
        return {"index": "IndexFlatIP"}

    def open(self, job: Job) -> None:
        import faiss

        self._index = faiss.IndexFlatIP(job["dim"])
        for _, block in blocks(job):
            self._index.add(block)
        faiss.omp_set_num_threads(1)

    def span(self, target: float) -> tuple[int, int]:
        """There is nothing to widen."""
        del target
        return 1, 1

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.search(queries_QD, K)[1]


class _Autofaiss(_Engine):
    """The index that autofaiss chooses for the memory, with the parameters of FAISS's own to widen it."""

    modules = ("faiss",)

    def build(self, job: Job) -> dict[str, Any]:
        import faiss
        from autofaiss import build_index  # type: ignore[reportMissingImports]

        # FAISS calls this argument M_in since 1.14, so that autofaiss 2.18 could build no compressed index.
        rotation = faiss.OPQMatrix
        faiss.OPQMatrix = lambda d, M, d2: rotation(d, M, d2)
        budget = job["memory_budget"]
        _, facts = build_index(
            embeddings=job["vectors"],
            index_path=str(Path(job["folder"]) / "index.faiss"),
            index_infos_path=str(Path(job["folder"]) / "infos.json"),
            save_on_disk=True,
            max_index_memory_usage=f"{budget}B",
            current_memory_available=f"{max(_available_bytes(), 2 * budget)}B",
            metric_type="ip",
            nb_cores=job["threads"],
        )
        if facts is None:
            raise RuntimeError("autofaiss built nothing; its log says why")
        return {"index": str(facts.get("index_key")), "its_own_choice": str(facts.get("index_param"))}

    def open(self, job: Job) -> None:
        import faiss

        self._index = faiss.read_index(str(Path(job["folder"]) / "index.faiss"))
        self._ivf = faiss.try_extract_index_ivf(self._index)
        self.breadth = "efSearch" if self._ivf is None else "nprobe"
        faiss.omp_set_num_threads(1)

    def span(self, target: float) -> tuple[int, int]:
        del target
        return (1, self._ivf.nlist) if self._ivf is not None else (K, 4096)

    def widen(self, breadth: int) -> None:
        import faiss

        setting = f"{self.breadth}={breadth}"
        if self._ivf is not None and hasattr(faiss.downcast_index(self._ivf.quantizer), "hnsw"):
            setting += f",quantizer_efSearch={max(breadth, 16)}"  # else the graph finds fewer lists than asked for
        faiss.ParameterSpace().set_index_parameters(self._index, setting)

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.search(queries_QD, K)[1]


class _Hnswlib(_Engine):
    """A graph over float32."""

    breadth = "ef"
    modules = ("hnswlib",)

    def build(self, job: Job) -> dict[str, Any]:
        import hnswlib  # type: ignore[reportMissingImports]

        index = hnswlib.Index(space="ip", dim=job["dim"])
        index.init_index(max_elements=job["num_rows"], M=24, ef_construction=200, random_seed=0)
        for first, block in blocks(job):
            index.add_items(block, np.arange(first, first + len(block)), num_threads=job["threads"])
            note(f"{first + len(block)} rows")
        index.save_index(str(Path(job["folder"]) / "index.bin"))
        return {"index": "M 24, efConstruction 200, float32"}

    def open(self, job: Job) -> None:
        import hnswlib  # type: ignore[reportMissingImports]

        self._index = hnswlib.Index(space="ip", dim=job["dim"])
        self._index.load_index(str(Path(job["folder"]) / "index.bin"))

    def widen(self, breadth: int) -> None:
        self._index.set_ef(breadth)

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.knn_query(queries_QD, k=K, num_threads=1)[0].astype(np.int64)


class _Usearch(_Engine):
    """A graph over bfloat16."""

    breadth = "expansion"
    modules = ("usearch.index",)

    def _empty(self, job: Job) -> Any:
        from usearch.index import Index  # type: ignore[reportMissingImports]

        return Index(
            ndim=job["dim"],
            metric="ip",
            dtype="bf16",
            connectivity=24,
            expansion_add=200,
            enable_key_lookups=False,
        )

    def build(self, job: Job) -> dict[str, Any]:
        index = self._empty(job)
        for first, block in blocks(job):
            index.add(np.arange(first, first + len(block)), block, threads=job["threads"])
            note(f"{first + len(block)} rows")
        index.save(str(Path(job["folder"]) / "index.usearch"))
        return {"index": f"connectivity 24, expansion_add 200, bf16 ({index.hardware_acceleration})"}

    def open(self, job: Job) -> None:
        self._index = self._empty(job)
        self._index.load(str(Path(job["folder"]) / "index.usearch"))

    def widen(self, breadth: int) -> None:
        self._index.expansion_search = breadth

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        keys = self._index.search(queries_QD, K, threads=1).keys
        return np.asarray(keys, np.int64).reshape(len(queries_QD), -1)


class _Svs(_Engine):
    """Intel's Vamana graph over float16. Its compressions, LVQ and LeanVec, refuse processors that are not Intel's."""

    breadth = "search_window_size"
    modules = ("svs",)

    def build(self, job: Job) -> dict[str, Any]:
        import svs  # type: ignore[reportMissingImports]

        vectors = np.empty((job["num_rows"], job["dim"]), np.float16)
        for first, block in blocks(job):
            vectors[first : first + len(block)] = block
        parameters = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=64, window_size=128)
        index = svs.Vamana.build(parameters, vectors, svs.DistanceType.MIP, num_threads=job["threads"])
        index.save(*(str(Path(job["folder"]) / name) for name in ("config", "graph", "vectors")))
        return {"index": "Vamana, degree 64, window 128, alpha 0.95, float16"}

    def open(self, job: Job) -> None:
        import svs  # type: ignore[reportMissingImports]

        folder = Path(job["folder"])
        self._index = svs.Vamana(
            str(folder / "config"),
            svs.GraphLoader(str(folder / "graph")),
            svs.VectorDataLoader(str(folder / "vectors"), svs.DataType.float16, job["dim"]),
            svs.DistanceType.MIP,
            num_threads=1,
        )

    def extra(self, job: Job) -> dict[str, Any]:
        """Lets it choose how far it reads ahead, which recall does not depend on."""
        queries_QD, exact_QK = _asked(job)
        chosen = self._index.experimental_calibrate(queries_QD, exact_QK.astype(np.uint32), K, job["target"])
        return {"prefetch": f"{chosen.prefetch_lookahead}, step {chosen.prefetch_step}"}

    def widen(self, breadth: int) -> None:
        import svs  # type: ignore[reportMissingImports]

        parameters = self._index.search_parameters
        parameters.buffer_config = svs.SearchBufferConfig(breadth)
        self._index.search_parameters = parameters

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.search(queries_QD, K)[0].astype(np.int64)


ENGINES: dict[str, type[_Engine]] = {
    "diantu": _Diantu,
    "exact": _Exact,
    "autofaiss": _Autofaiss,
    "hnswlib": _Hnswlib,
    "usearch": _Usearch,
    "svs": _Svs,
}


def recall(rows_QK: np.ndarray, exact_QK: np.ndarray) -> float:
    """Recall@10: the share of the ten exact answers that are among the ten found, mean over queries."""
    found = [len(np.intersect1d(rows[:K], exact[:K])) for rows, exact in zip(rows_QK, exact_QK, strict=True)]
    return float(np.mean(found)) / K


def blocks(job: Job) -> Iterator[tuple[int, np.ndarray]]:
    """All rows in order: pairs of first row and `emb_ND` float32."""
    first = 0
    for path in sorted(Path(job["vectors"]).glob("*.npy")):
        array = np.load(path, mmap_mode="r")
        for low in range(0, len(array), _BLOCK):
            block = np.asarray(array[low : low + _BLOCK], np.float32)
            yield first, block
            first += len(block)


def _asked(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """The queries that are timed, and their exact answers."""
    queries, exact = job["kinds"][job["kind"]]
    return np.load(queries), np.load(exact)


def build(engine: _Engine, job: Job, answers: IO[str]) -> None:
    """Builds, and answers with the facts and the seconds, without those of the libraries' start."""
    for name in engine.modules:
        importlib.import_module(name)
    started = time.perf_counter()
    facts = engine.build(job)
    _answer(answers, {**facts, "build_seconds": round(time.perf_counter() - started, 1)})


def serve(engine: _Engine, job: Job, answers: IO[str]) -> None:
    """Opens and asks once, and answers with the memory; then one timed pass for every recall that is asked for."""
    for name in engine.modules:
        importlib.import_module(name)
    queries_QD, exact_QK = _asked(job)
    gc.collect()
    before, started = _private_bytes(), time.perf_counter()
    engine.open(job)
    opened = time.perf_counter() - started
    engine.widen(engine.span(job["target"])[0])
    engine.search(queries_QD[:1])  # what is read when it is first needed counts, too
    answered = time.perf_counter() - started
    gc.collect()
    memory = {"open_bytes": _private_bytes() - before}
    seconds = {"open_seconds": round(opened, 3), "first_answer_seconds": round(answered, 3)}
    _answer(answers, {**memory, **seconds, **engine.extra(job)})
    least: dict[float, tuple[int, float]] = {}
    for line in sys.stdin:
        target = float(line)
        if target not in least:
            least[target] = _least(engine, queries_QD, exact_QK, target)
        breadth, reached = least[target]
        engine.widen(breadth)
        passed = {"breadth": f"{engine.breadth} {breadth}" if engine.breadth else "", "recall": round(reached, 4)}
        _answer(answers, {**passed, **_timed(engine, queries_QD), "used_bytes": _private_bytes() - before})


def _least(engine: _Engine, queries_QD: np.ndarray, exact_QK: np.ndarray, target: float) -> tuple[int, float]:
    """The least breadth that reaches a recall, to within 2 %, and the recall; else that of the best recall."""
    measured: dict[int, float] = {}

    def reached(breadth: int) -> float:
        if breadth not in measured:
            engine.widen(breadth)
            measured[breadth] = recall(engine.search(queries_QD), exact_QK)
            note(f"{engine.breadth} {breadth}: recall {measured[breadth]:.4f}")
        return measured[breadth]

    first, last = engine.span(target)
    low = high = first
    while reached(high) < target and high < last:
        if high > first and reached(high) - reached(low) < _PLATEAU:
            break
        low, high = high, min(2 * high, last)
    if reached(high) < target:  # it cannot: the least breadth that is as good as its best
        target, low = max(measured.values()) - _PLATEAU, first
    if reached(low) >= target:
        return low, reached(low)
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= target else (middle, high)
    return high, reached(high)


def _timed(engine: _Engine, queries_QD: np.ndarray) -> dict[str, Any]:
    """One query at a time, then all in one call, by one thread."""
    for query in range(min(_WARM_UP, len(queries_QD))):
        engine.search(queries_QD[query : query + 1])
    seconds: list[float] = []
    while len(seconds) < len(queries_QD) and (len(seconds) < _LEAST_TIMED or sum(seconds) < _PASS_SECONDS):
        query_1D = queries_QD[len(seconds) : len(seconds) + 1]
        started = time.perf_counter()
        engine.search(query_1D)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    engine.search(queries_QD)
    together = time.perf_counter() - started
    return {
        "timed": len(seconds),
        "qps": len(seconds) / sum(seconds),
        "p50_ms": 1000 * float(np.percentile(seconds, 50)),
        "p99_ms": 1000 * float(np.percentile(seconds, 99)),
        "qps_together": len(queries_QD) / together,
    }


def _private_bytes() -> int:
    """Memory of this process that is no file's: a file's pages can be dropped at any time."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(1024 * int(fields[name].split()[0]) for name in ("RssAnon", "RssShmem", "HugetlbPages"))


def _available_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * int(fields["MemAvailable"].split()[0])


def note(text: str) -> None:
    """For the engine's log."""
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def _answer(answers: IO[str], facts: dict[str, Any]) -> None:
    print(json.dumps(facts), file=answers, flush=True)


def main(what: str, engine: str, job: str) -> None:
    """See the module."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    {"build": build, "serve": serve}[what](ENGINES[engine](), json.loads(job), answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
