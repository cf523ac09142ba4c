"""A Ray cluster whose nodes are groups of processes on this machine; tests add nodes and kill them.

Its actors know the encoder `histogram`. Nothing is reachable from other machines.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import ray
from ray._private import ray_constants
from ray.cluster_utils import Cluster
from zygote import install_histogram, wait_until

_STORE_BYTES = 80 << 20  # the least that Ray takes


class Nodes:
    """The cluster. Its first node, the head, runs no actors."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._environment = {
            "RAY_TMPDIR": str(folder),  # short: sockets in it have long names
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # as there, all addresses are 127.0.0.1
            "PYTHONPATH": str(folder / "packages"),
            **environment,
        }
        (folder / "ray").mkdir()
        (folder / "packages").mkdir()
        install_histogram(folder / "packages")
        with mock.patch.dict(os.environ, self._environment), _on_loopback():
            head = self._arguments(num_cpus=0, include_dashboard=False)
            self._cluster = Cluster(initialize_head=True, head_node_args=head)
        self.running: list[Any] = []

    @property
    def address(self) -> str:
        """For `--address`."""
        return self._cluster.address

    def add(self, num_cpus: int = 1) -> Any:
        """A node that has joined."""
        with mock.patch.dict(os.environ, self._environment), _on_loopback():
            node = self._cluster.add_node(**self._arguments(num_cpus=num_cpus))
        self.running.append(node)
        return node

    def kill(self, node: Any) -> None:
        """Ends the processes of a node with SIGKILL, as a power cut or a preemption would."""
        self.running.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def remove(self, node: Any) -> None:
        """Ends a node in order, as an operator or an autoscaler would."""
        self.running.remove(node)
        self._cluster.remove_node(node, allow_graceful=True)

    def actors(self) -> list[int]:
        """The processes of the actors, which are children of those that have our folder in their command line."""
        parents = set(processes(self._environment["RAY_TMPDIR"]))
        return [pid for pid in processes("ray::Actor") if _parent(pid) in parents]

    def close(self) -> None:
        ray.shutdown()
        self._cluster.shutdown()

    @staticmethod
    def _arguments(**given: Any) -> dict[str, Any]:
        return {"node_ip_address": "127.0.0.1", "object_store_memory": _STORE_BYTES, **given}


@contextmanager
def ray_nodes(**environment: str) -> Iterator[Nodes]:
    """A cluster with its head alone, for nodes with these variables in their environment."""
    folder = Path(tempfile.mkdtemp(prefix="dt", dir="/tmp"))
    try:
        nodes = Nodes(folder, environment)
        try:
            yield nodes
        finally:
            nodes.close()
        wait_until(lambda: not processes(str(folder)), "the end of Ray's processes", pause=0.1)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def processes(mark: str) -> list[int]:
    """The processes that have a text in their command line, as those of Ray have its folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


def _parent(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _on_loopback() -> Any:
    return mock.patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False)
