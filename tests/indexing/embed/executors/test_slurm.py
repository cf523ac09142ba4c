"""Embedding by a SLURM of one node: submitted, followed, killed, requeued, and committed by the last task.

`DIANTU_SLURM_SHARDS=2000` sets the number of shards of the job whose tasks are killed every ten seconds.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import slurm_cluster
from histogram import Histogram
from pictures import jpeg, same_tree, write_tar
from slurm_cluster import Cluster
from zygote import Zygote, zygote

from diantu.datasets import find_shards
from diantu.indexing.embed import LoopSettings, Slurm, Written, embed, run_jobs
from diantu.indexing.embed.executors.slurm.submission import current
from diantu.indexing.embed.executors.slurm.task import run_task
from diantu.indexing.embed.job import planned
from diantu.indexing.store.verify import verify_gallery

SHARDS = int(os.environ.get("DIANTU_SLURM_SHARDS", "200"))
KILL_SECONDS = 10.0
pytestmark = pytest.mark.skipif(slurm_cluster.why_not() is not None, reason=str(slurm_cluster.why_not()))


@pytest.fixture(scope="module")
def jobs() -> Iterator[Zygote]:
    """Commands in processes that have torch imported, in the environment of the cluster."""
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        variables = {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": slurm_cluster.PATH}
        with mock.patch.dict(os.environ, variables), zygote() as serving:
            serving.preload("diantu.indexing.embed.job.embed", "jsonargparse.CLI")
            yield serving


@pytest.fixture(scope="module")
def cluster(jobs: Zygote) -> Iterator[Cluster]:
    folder = Path(jobs.environment["SLURM_CONF"]).parent
    with slurm_cluster.slurm(folder, jobs.environment) as running:
        yield running


@pytest.fixture
def here(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, for code that runs in the test's own process, where the encoder `histogram` is known, too."""
    for name in ("SLURM_CONF", "PATH"):
        monkeypatch.setenv(name, cluster.environment[name])
    monkeypatch.setattr(sys, "path", [cluster.environment["PYTHONPATH"], *sys.path])
    return cluster


def write_shards(folder: Path, count: int) -> Path:
    """Tars of two images; one is no tar."""
    image = [jpeg(i, (40, 30)) for i in range(16)]
    for shard in range(count):
        members = [(f"{shard}-{i}.jpg", image[(shard + 5 * i) % 16]) for i in range(2)]
        write_tar(folder / f"{shard:05d}.tar", members)
    (folder / "00002.tar").write_bytes(b"no tar")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shards(tmp_path_factory.mktemp("shards"), 12)


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery that one process writes."""
    gallery = tmp_path_factory.mktemp("whole") / "g"
    embed(find_shards([str(source)]), gallery, Histogram())
    return gallery


def command(source: Path, gallery: Path, *options: str | Path, tasks: int = 2) -> list[str | Path]:
    start = ["embed", "--source", source, "--output", gallery, "--encoder", "histogram"]
    return [*start, "--executor", "slurm", "--num-processes", str(tasks), *options]


def report(gallery: Path) -> str:
    """What the last tasks have printed."""
    return "".join(path.read_text() for path in sorted((gallery / "slurm" / "logs").glob("*-last.out")))


def ended(gallery: Path) -> int:
    """Shards that tasks have ended so far, also those that are committed."""
    submission = current(gallery)
    return len(submission.ended()) if submission else len(list((gallery / "parts").glob("*.json")))


def assert_complete(gallery: Path, whole: Path) -> None:
    """The same bytes as one process, and nothing besides but the logs."""
    assert not verify_gallery(gallery).sentences
    assert [path.name for path in (gallery / "slurm").iterdir()] == ["logs"]
    shutil.copytree(gallery, gallery.with_name("bare"))
    shutil.rmtree(gallery.with_name("bare") / "slurm")
    assert same_tree(gallery.with_name("bare"), whole)


def test_a_gallery_is_submitted_followed_and_committed(
    source: Path, whole: Path, tmp_path: Path, jobs: Zygote, cluster: Cluster
) -> None:
    """Submitting it twice is safe, and nobody else touches it meanwhile."""
    gallery = tmp_path / "g"
    first = jobs.start(*command(source, gallery))
    assert first.wait() == 0, first.stderr()
    assert "submitted 12 shards as the jobs diantu-" in first.stderr()
    again, local = jobs.start(*command(source, gallery)), jobs.start(*command(source, gallery, "--executor", "local"))
    assert (again.wait(), local.wait()) == (0, 2), again.stderr() + local.stderr()
    for job in (again, local):
        assert "is being embedded by 3 tasks of SLURM" in job.stderr()
    status = subprocess.run(
        ["diantu", "status", "--gallery", gallery], env=cluster.environment, capture_output=True, text=True
    )
    assert "of 12 shards embedded" in status.stdout
    cluster.wait_until_idle()
    assert "22 images in" in report(gallery), report(gallery)
    assert "00002.tar is not a tar that can be read" in report(gallery)
    assert_complete(gallery, whole)


def test_a_task_that_was_given_up_but_lives_does_no_harm(
    source: Path, whole: Path, tmp_path: Path, here: Cluster
) -> None:
    gallery = tmp_path / "g"
    executor = Slurm(["histogram"], num_tasks=1, lease_seconds=0.2, template=held(tmp_path))
    with planned(executor, find_shards([str(source)]), gallery) as wanted:
        submission = executor.submit(wanted, gallery)
    array = submission.state.array
    zombie = run_jobs(submission.jobs[:1], gallery, [Histogram()], LoopSettings())
    next(zombie)  # it has begun
    (submission.folder / "beats" / f"{array}_7.0").touch()
    (submission.folder / "claims" / "0.0").symlink_to(f"{array}_7.0")
    time.sleep(0.3)
    with signals_kept():
        run_task(submission, {"SLURM_JOB_ID": "99", "SLURM_ARRAY_JOB_ID": str(array), "SLURM_ARRAY_TASK_ID": "0"})
    # The lease was fresh when the task began to watch it, so that it has left the shard alone.
    here.command("scancel", f"--name={submission.name}")
    here.wait_until_idle()
    late = [event for event in zombie if isinstance(event, Written)]
    embed(find_shards([str(source)]), gallery, Histogram())
    assert not (gallery / late[0].attempt).exists()
    assert_complete(gallery, whole)


def held(folder: Path) -> Path:
    """A template whose jobs SLURM does not start."""
    template = folder / "held.sh"
    template.write_text("#!/bin/bash\n#SBATCH --array=$array\n#SBATCH --hold\n#SBATCH --output=$log\nexec $command\n")
    return template


@contextlib.contextmanager
def signals_kept() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tasks_and_the_node_are_killed_every_ten_seconds(
    tmp_path: Path, jobs: Zygote, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed tasks, requeued tasks and a node that fails: the gallery is complete, and has the bytes of one process."""
    source, gallery = tmp_path / "s", tmp_path / "g"
    source.mkdir()
    write_shards(source, SHARDS)
    rng, kills, killed_at = random.Random(1), {"process": 0, "requeue": 0, "node": 0}, time.monotonic()
    started = time.monotonic()
    submitted = jobs.start(*command(source, gallery, tasks=4))
    assert submitted.wait() == 0, submitted.stderr()
    while cluster.jobs():
        cluster.start_now()
        time.sleep(0.5)
        if time.monotonic() - killed_at > KILL_SECONDS and cluster.tasks():
            kind = rng.choices(list(kills), (6, 2, 1))[0]
            kill(cluster, kind, rng)
            kills[kind] += 1
            killed_at = time.monotonic()
    seconds = time.monotonic() - started
    assert (gallery / "parts").exists(), report(gallery)
    embed(find_shards([str(source)]), tmp_path / "w", Histogram())
    logs = len(list((gallery / "slurm" / "logs").glob("*-last.out")))
    with capsys.disabled():
        sys.stdout.write(f"\n{SHARDS} shards in {seconds:.0f} s, kills {kills}, {logs} arrays; {report(gallery)}\n")
    assert sum(kills.values())
    assert_complete(gallery, tmp_path / "w")


def kill(cluster: Cluster, kind: str, rng: random.Random) -> None:
    running = [job for job in cluster.jobs("RUNNING") if "_" in job]
    if kind == "process":
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(cluster.tasks() or [2**22]), signal.SIGKILL)
    elif kind == "requeue" and running:
        cluster.command("scontrol", "requeue", rng.choice(running), code=None)
    elif kind == "node":
        cluster.command("scontrol", "update", f"nodename={cluster.node}", "state=down", "reason=test")
        cluster.command("scontrol", "update", f"nodename={cluster.node}", "state=resume")
