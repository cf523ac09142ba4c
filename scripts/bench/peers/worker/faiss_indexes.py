"""Engines that use FAISS directly: exact search, and the index that autofaiss chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .engine import Engine
from .job import Job, K


class Exact(Engine):
    """FAISS's exact search over float32 vectors in memory."""

    modules = ("faiss",)

    def build(self, job: Job) -> dict[str, Any]:
        """There is nothing to save."""
        return {"index": "IndexFlatIP"}

    def open(self, job: Job) -> None:
        import faiss

        self._index = faiss.IndexFlatIP(job.dim)
        for _, block in job.blocks():
            self._index.add(block)
        faiss.omp_set_num_threads(1)

    def limits(self, target: float) -> tuple[int, int]:
        """There is no breadth."""
        del target
        return 1, 1

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.search(queries_QD, K)[1]


class Autofaiss(Engine):
    """The index that autofaiss chooses for the memory budget; its breadth is set through FAISS's own parameters."""

    modules = ("faiss",)

    def build(self, job: Job) -> dict[str, Any]:
        import faiss
        from autofaiss import build_index  # type: ignore[reportMissingImports]

        # FAISS 1.14 renamed this argument to M_in, so autofaiss 2.18 cannot build a compressed index without this.
        rotation = faiss.OPQMatrix
        faiss.OPQMatrix = lambda d, M, d2: rotation(d, M, d2)
        _, facts = build_index(
            embeddings=job.vectors,
            index_path=job.file("index.faiss"),
            index_infos_path=job.file("infos.json"),
            save_on_disk=True,
            max_index_memory_usage=f"{job.memory_budget}B",
            current_memory_available=f"{max(_available_bytes(), 2 * job.memory_budget)}B",
            metric_type="ip",
            nb_cores=job.threads,
        )
        if facts is None:
            raise RuntimeError("autofaiss built no index; its log says why")
        return {"index": str(facts.get("index_key")), "its_own_choice": str(facts.get("index_param"))}

    def open(self, job: Job) -> None:
        import faiss

        self._index = faiss.read_index(job.file("index.faiss"))
        self._ivf = faiss.try_extract_index_ivf(self._index)
        self.breadth = "efSearch" if self._ivf is None else "nprobe"
        faiss.omp_set_num_threads(1)

    def limits(self, target: float) -> tuple[int, int]:
        del target
        return (1, self._ivf.nlist) if self._ivf is not None else (K, 4096)

    def set_breadth(self, breadth: int) -> None:
        import faiss

        setting = f"{self.breadth}={breadth}"
        if self._ivf is not None and hasattr(faiss.downcast_index(self._ivf.quantizer), "hnsw"):
            setting += f",quantizer_efSearch={max(breadth, 16)}"  # else the graph finds fewer lists than nprobe
        faiss.ParameterSpace().set_index_parameters(self._index, setting)

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        return self._index.search(queries_QD, K)[1]


def _available_bytes() -> int:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * int(fields["MemAvailable"].split()[0])
