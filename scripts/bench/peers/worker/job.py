"""What an engine must do: the job that `bench_index` passes to it as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

K = 10
_BLOCK = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job; paths are texts, so that it can be written as JSON.

    Attributes:
        gallery: the gallery's folder, which only our own engine reads.
        vectors: the folder of float16 .npy files whose names are in the order of the rows.
        num_rows: of all files.
        dim: of the vectors.
        kinds: kind of queries → the file of queries, `emb_QD` float32, and the file of exact results, `rows_QK` int64.
        kind: the kind that is timed.
        tuning: the file of queries to tune our own engine with, if there are any.
        folder: where the engine keeps its index.
        threads: number of threads of a build; searches use one.
        target: the recall@10 to reach.
        memory_budget: bytes that our index and that of autofaiss may take.
        factory: the FAISS factory string of our index; None for its own choice.
    """

    gallery: str
    vectors: str
    num_rows: int
    dim: int
    kinds: Mapping[str, tuple[str, str]]
    kind: str
    tuning: str | None
    folder: str
    threads: int
    target: float
    memory_budget: int
    factory: str | None

    def to_json(self) -> str:
        """The job as one argument of a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """Inverse of `to_json`."""
        return cls(**json.loads(text))

    def file(self, name: str) -> str:
        """The path of a file in the engine's folder."""
        return str(Path(self.folder) / name)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """All rows in order: pairs of first row and `emb_ND` float32."""
        first = 0
        for path in sorted(Path(self.vectors).glob("*.npy")):
            array = np.load(path, mmap_mode="r")
            for low in range(0, len(array), _BLOCK):
                block = np.asarray(array[low : low + _BLOCK], np.float32)
                yield first, block
                first += len(block)

    def timed_queries(self) -> tuple[np.ndarray, np.ndarray]:
        """The queries that are timed, `emb_QD` float32, and their exact results, `rows_QK` int64."""
        queries, exact = self.kinds[self.kind]
        return np.load(queries), np.load(exact)
