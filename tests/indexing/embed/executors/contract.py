"""The executors that must pass the contract in `test_contract.py`. To add one, write a function and name it below.

The function is a context manager. It gets pytest's `request`, for fixtures, and yields an executor of the encoder
`histogram` with batches of 4 images, and a function that returns the processes in which it embeds; none where they
cannot be killed without the caller.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
import slurm_cluster
from histogram import Histogram

from diantu.indexing.embed import Executor, InProcess, LocalProcesses, LoopSettings, Slurm

BATCH_SIZE = 4
Processes = Callable[[], list[int]]
Made = tuple[Executor, Processes]


@contextmanager
def in_process(request: pytest.FixtureRequest) -> Iterator[Made]:
    del request
    yield InProcess([Histogram()], LoopSettings(batch_size=BATCH_SIZE)), list


@contextmanager
def local_processes(request: pytest.FixtureRequest) -> Iterator[Made]:
    del request
    settings = LoopSettings(batch_size=BATCH_SIZE)
    with LocalProcesses(["histogram"], settings, devices=["cpu", "cpu"], precision="auto") as executor:
        yield executor, _forks


def _forks() -> list[int]:
    """The processes that were forked by a server of forks of this process."""
    return [pid for server in _children("self") for pid in _children(str(server)) if _is_fork(pid)]


def _children(pid: str) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _is_fork(pid: int) -> bool:
    return b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()


@contextmanager
def ray_cluster(request: pytest.FixtureRequest) -> Iterator[Made]:
    pytest.importorskip("ray")
    from diantu.indexing.embed.executors.ray_cluster import RayCluster

    cluster = request.getfixturevalue("cluster")
    with RayCluster(["histogram"], batch_size=BATCH_SIZE, address=cluster.address, num_processes=2) as executor:
        yield executor, cluster.actors


@contextmanager
def slurm(request: pytest.FixtureRequest) -> Iterator[Made]:
    """A SLURM of its own; the executor submits to it and waits, as `diantu embed --executor slurm --wait` does."""
    del request
    if (missing := slurm_cluster.why_not()) is not None:
        pytest.skip(missing)
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        environment = {**os.environ, "HISTOGRAM_PACE": "0.05"}
        with slurm_cluster.slurm(Path(folder), environment) as cluster:
            variables = {name: cluster.environment[name] for name in ("SLURM_CONF", "PATH")}
            with mock.patch.dict(os.environ, variables):
                # Its tasks may have ended before the caller hears of the first shard; `test_slurm.py` kills them.
                yield Slurm(["histogram"], batch_size=BATCH_SIZE, num_tasks=2), list


EXECUTORS = {
    "in_process": in_process,
    "local_processes": local_processes,
    "ray_cluster": ray_cluster,
    "slurm": slurm,
}
