"""The engine `diantu`. All uses of its index by `bench_index` are here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .engine import Engine
from .job import Job, K
from .measuring import recall


class Diantu(Engine):
    """The gallery's own index. The breadth is in per cent of the breadth that it was tuned to."""

    breadth = "% of the tuned breadth"
    modules = ("faiss", "torch", "diantu.indexing.build.job")

    def build(self, job: Job) -> dict[str, Any]:
        from diantu.indexing.build.job import build_index  # type: ignore[reportMissingImports]
        from diantu.indexing.build.request import IndexRequest  # type: ignore[reportMissingImports]

        request = IndexRequest(
            target_recall=job.target,
            memory_budget=None if job.factory else job.memory_budget,
            factory=job.factory,
            tune_queries=Path(job.tuning) if job.tuning else None,
            rebuild=True,
        )
        report = build_index(Path(job.gallery), None, request=request)
        return {
            "index": report.spec.factory,
            "train_and_add_seconds": report.build_seconds,
            "bytes_per_row": report.bytes_per_row,
            "report": report.to_json(),
        }

    def open(self, job: Job) -> None:
        from diantu.indexing.index.opened import GalleryIndex  # type: ignore[reportMissingImports]
        from diantu.indexing.store.snapshot import Snapshot  # type: ignore[reportMissingImports]

        self._index = GalleryIndex.open(Snapshot.read(Path(job.gallery)))
        self._kind, self._target, self._percent = job.kind, job.target, 100

    def limits(self, target: float) -> tuple[int, int]:
        """For the target that the index was tuned for, never less than users get."""
        return (100 if target >= self._target else 5), 800

    def set_breadth(self, breadth: int) -> None:
        self._percent = breadth

    def search(self, queries_QD: np.ndarray) -> np.ndarray:
        from diantu.indexing.index.effort import Breadth  # type: ignore[reportMissingImports]

        if self._percent == 100:  # the call that users make
            return self._index.search(queries_QD, K, kind=self._kind)[1]
        tuned = self._index.efforts.breadth("balanced", self._kind, K)
        if tuned is None:
            return self._index.search_at(queries_QD, K, None)[1]
        nprobe, candidates = (value * self._percent // 100 for value in (tuned.nprobe, tuned.candidates))
        breadth = Breadth(nprobe=max(nprobe, 1), candidates=max(candidates, K))
        return self._index.search_at(queries_QD, K, breadth)[1]

    def extra(self, job: Job) -> dict[str, Any]:
        """The recall that users get, for each kind of queries; none of these queries was used for tuning."""
        delivers = {}
        for kind, (queries, exact) in job.kinds.items():
            _, rows_QK = self._index.search(np.load(queries), K, kind=kind)
            delivers[kind] = round(recall(rows_QK, np.load(exact)), 4)
        tuned = {kind: self._index.efforts.breadth("balanced", kind, K) for kind in job.kinds}
        described = {
            kind: f"{b.nprobe} lists, {b.candidates} candidates" if b else "exact" for kind, b in tuned.items()
        }
        return {"delivers": delivers, "tuned": described}
