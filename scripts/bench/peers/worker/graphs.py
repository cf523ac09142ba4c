"""Engines that search a graph: hnswlib, usearch and Intel's SVS."""

from __future__ import annotations

from typing import Any

import numpy as np

from .engine import Engine, note
from .job import Job, K


class Hnswlib(Engine):
    """A graph over float32 vectors."""

    breadth = "ef"
    modules = ("hnswlib",)

    def build(self, job: Job) -> dict[str, Any]:
        import hnswlib  # type: ignore[reportMissingImports]

        index = hnswlib.Index(space="ip", dim=job.dim)
        index.init_index(max_elements=job.num_rows, M=24, ef_construction=200, random_seed=0)
        for first, block in job.blocks():
            index.add_items(block, np.arange(first, first + len(block)), num_threads=job.threads)
            note(f"{first + len(block)} rows")
        index.save_index(job.file("index.bin"))
        return {"index": "M 24, efConstruction 200, float32"}

    def open(self, job: Job) -> None:
        import hnswlib  # type: ignore[reportMissingImports]

        self._index = hnswlib.Index(space="ip", dim=job.dim)
        self._index.load_index(job.file("index.bin"))

    def set_breadth(self, breadth: int) -> None:
        self._index.set_ef(breadth)

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.knn_query(queries_QD, k=K, num_threads=1)[0].astype(np.int64)


class Usearch(Engine):
    """A graph over bfloat16 vectors."""

    breadth = "expansion"
    modules = ("usearch.index",)

    def build(self, job: Job) -> dict[str, Any]:
        index = self._empty(job)
        for first, block in job.blocks():
            index.add(np.arange(first, first + len(block)), block, threads=job.threads)
            note(f"{first + len(block)} rows")
        index.save(job.file("index.usearch"))
        return {"index": f"connectivity 24, expansion_add 200, bf16 ({index.hardware_acceleration})"}

    def open(self, job: Job) -> None:
        self._index = self._empty(job)
        self._index.load(job.file("index.usearch"))

    def set_breadth(self, breadth: int) -> None:
        self._index.expansion_search = breadth

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        keys = self._index.search(queries_QD, K, threads=1).keys
        return np.asarray(keys, np.int64).reshape(len(queries_QD), -1)

    def _empty(self, job: Job) -> Any:
        from usearch.index import Index  # type: ignore[reportMissingImports]

        return Index(
            ndim=job.dim,
            metric="ip",
            dtype="bf16",
            connectivity=24,
            expansion_add=200,
            enable_key_lookups=False,
        )


class Svs(Engine):
    """Intel's Vamana graph over float16 vectors. Its compressions, LVQ and LeanVec, run on Intel's processors only."""

    breadth = "search_window_size"
    modules = ("svs",)

    def build(self, job: Job) -> dict[str, Any]:
        svs = _svs()

        vectors = np.empty((job.num_rows, job.dim), np.float16)
        for first, block in job.blocks():
            vectors[first : first + len(block)] = block
        parameters = svs.VamanaBuildParameters(alpha=0.95, graph_max_degree=64, window_size=128)
        index = svs.Vamana.build(parameters, vectors, svs.DistanceType.MIP, num_threads=job.threads)
        index.save(*map(job.file, ("config", "graph", "vectors")))
        return {"index": "Vamana, degree 64, window 128, alpha 0.95, float16"}

    def open(self, job: Job) -> None:
        svs = _svs()

        self._index = svs.Vamana(
            job.file("config"),
            svs.GraphLoader(job.file("graph")),
            svs.VectorDataLoader(job.file("vectors"), svs.DataType.float16, job.dim),
            svs.DistanceType.MIP,
            num_threads=1,
        )

    def extra(self, job: Job) -> dict[str, Any]:
        """Lets SVS choose how far it prefetches, which does not change the recall."""
        queries_QD, exact_QK = job.timed_queries()
        chosen = self._index.experimental_calibrate(queries_QD, exact_QK.astype(np.uint32), K, job.target)
        return {"prefetch": f"{chosen.prefetch_lookahead}, step {chosen.prefetch_step}"}

    def set_breadth(self, breadth: int) -> None:
        svs = _svs()

        parameters = self._index.search_parameters
        parameters.buffer_config = svs.SearchBufferConfig(breadth)
        self._index.search_parameters = parameters

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.search(queries_QD, K)[0].astype(np.int64)


def _svs() -> Any:
    """SVS, which has no type stubs."""
    import svs  # type: ignore[reportMissingImports]

    return svs
