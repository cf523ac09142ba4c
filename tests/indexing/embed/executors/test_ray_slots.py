"""How many actors the nodes of a cluster get, and of which kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from diantu.datasets import InputError
from diantu.indexing.embed.executors.ray_slots import Slots


def node(name: str, alive: bool = True, **resources: float) -> Mapping[str, Any]:
    """A node as `ray.nodes()` describes it."""
    return {"NodeID": name, "NodeManagerAddress": f"10.0.0.{name}", "Alive": alive, "Resources": resources}


def slots(nodes: list[Mapping[str, Any]], device: str = "auto", most: int | None = None) -> list[tuple[Any, ...]]:
    found = Slots.of(nodes, device, most).on(nodes)
    return [(slot.node, slot.index, slot.num_gpus, slot.num_cores) for slot in found]


def test_a_node_has_a_slot_for_each_gpu_with_its_share_of_cores() -> None:
    nodes = [node("1", CPU=16.0, GPU=2.0), node("2", CPU=3.0, GPU=1.0)]
    assert slots(nodes) == [("1", 0, 1, 8), ("2", 0, 1, 3), ("1", 1, 1, 8)]


def test_nodes_without_gpus_are_not_used_beside_those_with_gpus() -> None:
    nodes = [node("1", CPU=16.0), node("2", GPU=1.0)]
    assert slots(nodes) == [("2", 0, 1, 1)]
    assert slots(nodes, "cuda") == slots(nodes)
    assert slots(nodes, "cpu") == [("1", index, 0, 4) for index in range(4)]


def test_a_node_without_gpus_has_a_slot_for_each_four_cores() -> None:
    assert slots([node("head"), node("1", CPU=9.0), node("2", CPU=2.0)]) == [
        ("1", 0, 0, 4),
        ("2", 0, 0, 2),
        ("1", 1, 0, 4),
    ]


def test_more_processes_than_groups_of_cores_make_the_groups_smaller() -> None:
    assert slots([node("1", CPU=4.0)], most=2) == [("1", 0, 0, 2), ("1", 1, 0, 2)]
    assert slots([node("1", CPU=2.0)], most=9) == [("1", 0, 0, 1), ("1", 1, 0, 1)]
    assert len(slots([node("1", CPU=64.0)], most=3)) == 16  # only the crew knows that three are enough


def test_dead_nodes_have_no_slots() -> None:
    assert slots([node("1", alive=False), node("2", CPU=1.0)]) == [("2", 0, 0, 1)]


@pytest.mark.parametrize(
    ("nodes", "device", "message"),
    [
        (
            [node("1", CPU=8.0)],
            "cuda",
            "no node of the Ray cluster has a GPU; start one that has, or give --device cpu",
        ),
        ([node("1"), node("2", alive=False)], "auto", "no node of the Ray cluster has CPU cores for tasks"),
    ],
)
def test_a_cluster_without_room_is_refused(nodes: list[Mapping[str, Any]], device: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Slots.of(nodes, device, None)
