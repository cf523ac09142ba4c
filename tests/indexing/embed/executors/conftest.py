"""What the tests of executors share: an encoder that all processes know by its name, shards, and a Ray cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from histogram import Histogram
from pictures import jpeg, write_tar
from zygote import install_histogram

from diantu.datasets import find_shards
from diantu.indexing.embed import embed

if TYPE_CHECKING:
    from ray_nodes import Nodes


# A Ray cluster and a SLURM take minutes, and should have the machine for themselves.
CLUSTERS = os.environ.get("DIANTU_CLUSTERS") == "1"
_OF_CLUSTERS = ("test_ray_nodes.py", "test_slurm.py", "test_switching.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leaves out the tests that start a cluster, unless they are asked for."""
    skip = pytest.mark.skip(reason="starts a Ray cluster or a SLURM, in minutes: DIANTU_CLUSTERS=1 runs it")
    for item in items:
        if item.path.parent != Path(__file__).parent or CLUSTERS:
            continue
        callspec = getattr(item, "callspec", None)
        of_cluster = callspec is not None and callspec.params.get("made") in ("ray_cluster", "slurm")
        if item.path.name in _OF_CLUSTERS or of_cluster:
            item.add_marker(skip)


@pytest.fixture(scope="session", autouse=True)
def _known_encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Makes `histogram` a name that processes started by these tests can load, as after `pip install`."""
    folder = tmp_path_factory.mktemp("packages")
    install_histogram(folder)
    sys.path.append(str(folder))
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(folder)}):
        yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten shards of 12 images, some of them broken; one shard is not a tar."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(10):
        members = [(f"{i:03d}.jpg", b"broken" if i % 7 == shard else jpeg(12 * shard + i, (90, 60))) for i in range(12)]
        write_tar(folder / f"{shard:05d}.tar", members)
    (folder / "00004.tar").write_bytes(b"no tar")
    return folder


@pytest.fixture(scope="session")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery that one process writes without being disturbed."""
    gallery = tmp_path_factory.mktemp("whole") / "g"
    embed(find_shards(str(source)), gallery, Histogram(), batch_size=4)
    return gallery


@pytest.fixture(scope="session")
def cluster() -> Iterator[Nodes]:
    """A Ray cluster with its head and one node of two CPU cores; a test that adds nodes removes them again."""
    from ray_nodes import ray_nodes

    with ray_nodes(HISTOGRAM_PACE="0.05") as nodes:
        nodes.add(num_cpus=2)
        yield nodes
