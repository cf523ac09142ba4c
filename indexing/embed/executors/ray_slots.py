"""Places for actors on the nodes of a Ray cluster: one per GPU, or one per few CPU cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ....datasets.errors import InputError

# CPU cores of an actor, where there are no GPUs: one model on all cores of a large machine does not keep them busy.
_CPUS = 4
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A place for one actor.

    `num_cores` are the CPU cores of the node that fall to the actor; only on nodes without GPUs are they reserved.
    """

    node: str
    address: str
    index: int
    num_gpus: int
    num_cores: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Which slots the nodes of a cluster have. All actors of a job use the same kind of device.

    Vectors of a GPU and of a CPU differ in rounding, so an actor on a CPU never joins those on GPUs.
    """

    device: Literal["cpu", "cuda"]
    num_cores: int  # of an actor on a CPU

    @classmethod
    def of(cls, nodes: Iterable[Mapping[str, Any]], device: str, most: int | None) -> Slots:
        """What the nodes that are there at the start of a job are used for.

        Args:
            nodes: as `ray.nodes()` gives them.
            device: one of `DEVICES`; `auto` takes the GPUs if there is one.
            most: actors that are wanted at most; more than there are groups of cores makes the groups smaller.

        Raises:
            InputError: if there is nothing that an actor could use.
        """
        alive = [node for node in nodes if node["Alive"]]
        num_gpus, num_cores = (sum(_number(node, kind) for node in alive) for kind in ("GPU", "CPU"))
        if device == "cuda" or (device == "auto" and num_gpus):
            if not num_gpus:
                raise InputError("no node of the Ray cluster has a GPU; start one that has, or give --device cpu")
            return cls(device="cuda", num_cores=0)
        if not num_cores:
            raise InputError("no node of the Ray cluster has CPU cores for tasks; start one that has")
        return cls(device="cpu", num_cores=min(_CPUS, max(1, num_cores // (most or 1))))

    def on(self, nodes: Iterable[Mapping[str, Any]]) -> Iterator[Slot]:
        """The slots of the nodes that are alive: the first of every node, then the second ones, and so on."""
        counts = {node["NodeID"]: self._count(node) for node in nodes if node["Alive"]}
        by_id = {node["NodeID"]: node for node in nodes}
        for index in range(max(counts.values(), default=0)):
            for number, count in counts.items():
                if index < count:
                    yield self._slot(by_id[number], index, count)

    def _count(self, node: Mapping[str, Any]) -> int:
        if self.device == "cuda":
            return _number(node, "GPU")
        num_cores = _number(node, "CPU")
        return max(1, num_cores // self.num_cores) if num_cores else 0

    def _slot(self, node: Mapping[str, Any], index: int, count: int) -> Slot:
        on_gpu = self.device == "cuda"
        return Slot(
            node=node["NodeID"],
            address=node["NodeManagerAddress"],
            index=index,
            num_gpus=int(on_gpu),
            num_cores=max(1, _number(node, "CPU") // count) if on_gpu else min(self.num_cores, _number(node, "CPU")),
        )


def _number(node: Mapping[str, Any], kind: str) -> int:
    return int(node["Resources"].get(kind, 0))
