"""Runs in a process of its own: SVS builds or extends a graph, which takes minutes and cannot be interrupted.

Shapes: N rows, D dimension.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..index.vamana_files import CONFIG, GRAPH, NEW_ROWS, ROWS, append_rows, mapped_rows, settings, svs, write_settings

# Values of SVS's documentation for inner products; a window of twice the degree, as in its examples.
_ALPHA, _WINDOW = 0.95, 2
_BLOCK = 65_536
_PR_SET_PDEATHSIG = 1


def run() -> None:
    """Does what the argument of the command line describes."""
    job = json.loads(sys.argv[1])
    _end_with(job.pop("parent"))
    build(**job)


def build(folder: str, dim: int, degree: int, num_old: int, num_threads: int) -> None:
    """Builds the graph of the rows in a folder, or adds rows to the graph there.

    Args:
        folder: holds the files of rows; the graph and its configuration are written there.
        dim: values of a row.
        degree: edges of a row at most.
        num_old: rows that the graph in the folder holds already; 0 to build one.
        num_threads: threads that build.
    """
    work = Path(folder)
    scratch = work / "scratch"
    graph = _extended(work, dim, num_old, num_threads) if num_old else _built(work, dim, degree, num_threads)
    scratch.mkdir()
    graph.save(str(scratch / CONFIG), str(scratch / GRAPH), str(scratch / "data"))
    values = settings(scratch / CONFIG)
    # A graph that can be added to says the same one level deeper, beside the numbers of its rows, which are those here.
    write_settings(scratch / CONFIG, values.get("parameters", values))
    for name in (CONFIG, GRAPH):
        shutil.rmtree(work / name, ignore_errors=True)
        (scratch / name).rename(work / name)
    shutil.rmtree(scratch)  # a copy of the rows


def _built(work: Path, dim: int, degree: int, num_threads: int) -> Any:
    module = svs()
    parameters = module.VamanaBuildParameters(alpha=_ALPHA, graph_max_degree=degree, window_size=_WINDOW * degree)
    rows = module.VectorDataLoader(str(work / ROWS), data_type=module.DataType.float16, dims=dim)
    return module.Vamana.build(parameters, rows, module.DistanceType.MIP, num_threads=num_threads)


def _extended(work: Path, dim: int, num_old: int, num_threads: int) -> Any:
    """The graph with the rows after the first `num_old`, which keep their numbers, because none was removed."""
    module = svs()
    graph = module.DynamicVamana(
        str(work / CONFIG),
        module.GraphLoader(str(work / GRAPH)),
        module.VectorDataLoader(str(work / ROWS), data_type=module.DataType.float16, dims=dim),
        module.DistanceType.MIP,
        num_threads=num_threads,
        debug_load_from_static=True,  # rows are numbered from 0
    )
    new_ND = mapped_rows(work / NEW_ROWS, dim)
    for start in range(0, len(new_ND), _BLOCK):
        some_ND = new_ND[start : start + _BLOCK].astype(np.float32)
        graph.add(some_ND, np.arange(num_old + start, num_old + start + len(some_ND), dtype=np.uint64))
    append_rows(work / ROWS, work / NEW_ROWS)
    return graph


def _end_with(parent: int) -> None:
    """Lets the kernel end this process when its parent ends: SVS would hear of nothing else."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it had ended before
        os._exit(1)
