"""Builds a graph of SVS over all rows, or adds rows to one.

The work is done in a folder beside the index, by a process that can be ended at any moment.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import IO

import faiss
from tqdm import tqdm

from ...datasets.errors import InputError
from ...datasets.files import writing
from ...datasets.processes import python_command
from ..index.report import IndexReport, IndexSpec
from ..index.stored import StoredIndex
from ..index.vamana import Vamana, degree
from ..index.vamana_files import NEW_ROWS, ROWS, loaded, svs, write_rows
from ..store.vectors import Vectors

_NAME = "building"
_MOST_SAID = 2000  # bytes of what a process that failed wrote last


def build_graph(folder: Path, vectors: Vectors, spec: IndexSpec, *, show_progress: bool = False) -> Vamana:
    """A new graph over all rows, whose files lie in a folder beside the index until `remove_work` is called.

    Raises:
        InputError: if SVS is not installed, or cannot build the graph.
    """
    work = _new_work(folder)
    return _done(work, vectors, spec, num_old=0, show_progress=show_progress)


def extend_graph(
    folder: Path, stored: StoredIndex, report: IndexReport, vectors: Vectors, *, show_progress: bool = False
) -> Vamana:
    """The existing graph with the rows that were added since.

    Raises:
        InputError: if it is damaged, SVS is not installed, or cannot add the rows.
    """
    work = _new_work(folder)
    if report.num_rows:
        stored.unpack(report, work)
    return _done(work, vectors, report.spec, num_old=report.num_rows, show_progress=show_progress)


def remove_work(folder: Path) -> None:
    """Removes what a job has left beside the index. Only while the job lock is held."""
    shutil.rmtree(folder / _NAME, ignore_errors=True)


def _new_work(folder: Path) -> Path:
    svs()  # before anything is written
    remove_work(folder)
    work = folder / _NAME
    with writing(work):
        work.mkdir(parents=True)
    return work


def _done(work: Path, vectors: Vectors, spec: IndexSpec, *, num_old: int, show_progress: bool) -> Vamana:
    if not len(vectors):
        return Vamana(None, 0)
    with writing(work / ROWS):
        num_at_once = num_old or len(vectors)
        write_rows(vectors, work / ROWS, 0, num_at_once)
        write_rows(vectors, work / NEW_ROWS, num_at_once, len(vectors))
    if num_old < len(vectors):
        job = {"folder": str(work), "dim": vectors.dim, "degree": degree(spec.factory), "num_old": num_old}
        with tqdm(desc="graph", unit=" s", disable=not show_progress, dynamic_ncols=True) as bar:
            _run({**job, "num_threads": faiss.omp_get_max_threads()}, bar)
    return Vamana(loaded(work, vectors.dim), len(vectors), work)


def _run(job: dict[str, object], bar: tqdm) -> None:
    """Runs a job of `graph_child` and counts the seconds, the only progress that SVS allows to see."""
    argument = json.dumps({**job, "parent": os.getpid()})
    with (Path(str(job["folder"])) / "said.txt").open("w+b") as said:
        process = subprocess.Popen(
            python_command(f"{__package__}.graph_child", "run", argument),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
        )  # fmt: skip
        try:
            while True:
                try:
                    status = process.wait(1)
                    break
                except subprocess.TimeoutExpired:
                    bar.update(1)
        finally:
            process.kill()
            process.wait()
        if status:
            raise InputError(f"SVS cannot build the graph: {_reason(status, said)}")


def _reason(status: int, said: IO[bytes]) -> str:
    if status < 0:
        return f"its process was ended by signal {-status}, probably because there was too little memory"
    said.seek(max(said.seek(0, os.SEEK_END) - _MOST_SAID, 0))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else f"its process ended with status {status}"
