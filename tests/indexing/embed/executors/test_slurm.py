"""Embedding by a SLURM of one node: submitted, followed, killed, requeued, and committed by the last task.

`DIANTU_SLURM_SHARDS=2000` sets the number of shards of the job whose tasks are killed every ten seconds.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
import slurm_cluster
from command_line import CommandLine
from histogram import FATAL, Histogram
from pictures import jpeg, same_tree, write_tar
from PIL import Image
from slurm_cluster import Cluster
from zygote import Zygote, install_histogram, wait_until, zygote

from diantu.datasets import InputError, find_shards
from diantu.indexing.embed import LoopSettings, Slurm, Written, embed, run_jobs
from diantu.indexing.embed.executors.slurm.beats import Owner
from diantu.indexing.embed.executors.slurm.claims import claimed
from diantu.indexing.embed.executors.slurm.submission import current
from diantu.indexing.embed.executors.slurm.task import run_task
from diantu.indexing.embed.job import planned
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.verify import verify_gallery

SHARDS = int(os.environ.get("DIANTU_SLURM_SHARDS", "200"))
KILL_SECONDS = 10.0
pytestmark = pytest.mark.skipif(slurm_cluster.why_not() is not None, reason=str(slurm_cluster.why_not()))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A SLURM whose tasks know the encoder `histogram`."""
    with tempfile.TemporaryDirectory(prefix="slurm") as name:
        folder = Path(name)
        install_histogram(folder)
        environment = {**os.environ, "PYTHONPATH": name, "HISTOGRAM_PACE": "0.02"}
        with slurm_cluster.slurm(folder, environment) as running:
            yield running


@pytest.fixture(scope="module")
def jobs(cluster: Cluster) -> Iterator[Zygote]:
    """Commands in processes that have torch imported, in the environment of the cluster."""
    with mock.patch.dict(os.environ, cluster.environment), zygote() as serving:
        serving.preload("diantu.indexing.embed.job.embed", "jsonargparse.CLI")
        yield serving


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
    return "".join(path.read_text() for path in sorted((gallery / "slurm" / "logs").glob("*/*-last.out")))


def ended(gallery: Path) -> int:
    """Shards that tasks have ended so far, also those that are committed."""
    submission = current(gallery)
    return len(submission.ended()) if submission else len(list((gallery / "parts").glob("*.json")))


def assert_complete(gallery: Path, whole: Path) -> None:
    """The same bytes as one process, and nothing besides but the logs."""
    assert not verify_gallery(gallery).sentences
    shutil.copytree(gallery, gallery.with_name("bare"))
    if (gallery / "slurm").exists():
        assert [path.name for path in (gallery / "slurm").iterdir()] == ["logs"]
        shutil.rmtree(gallery.with_name("bare") / "slurm")
    assert same_tree(gallery.with_name("bare"), whole)


def test_a_gallery_is_submitted_followed_and_committed(
    source: Path, whole: Path, tmp_path: Path, here: Cluster, diantu: CommandLine
) -> None:
    """Submitting it twice is safe, and nobody else touches it meanwhile."""
    gallery = tmp_path / "g"
    first = diantu(*command(source, gallery))
    again = diantu(*command(source, gallery))
    local = diantu(*command(source, gallery, "--executor", "local", "--num-processes", "1"))
    assert (first.returncode, again.returncode, local.returncode) == (0, 0, 2), first.stderr
    assert "submitted 12 shards as the jobs diantu-" in first.stderr
    for done in (again, local):
        assert "is being embedded by 3 tasks of SLURM" in done.stderr
    status = diantu("status", "--gallery", gallery)
    assert "of 12 shards embedded" in status.stdout
    assert "jobs of SLURM work on it" in status.stdout
    here.wait_until_idle()
    assert report(gallery).endswith("22 rows from 11 of 12 shards, 0 samples left out\n"), report(gallery)
    assert "00002.tar is not a tar that can be read" in report(gallery)
    assert_complete(gallery, whole)


def test_what_slurm_refuses_ends_in_its_own_words(
    source: Path, tmp_path: Path, here: Cluster, diantu: CommandLine
) -> None:
    """Nothing is left behind, so that another executor can embed the gallery."""
    gallery, template = tmp_path / "g", tmp_path / "slurm.sh"
    template.write_text("#!/bin/bash\n#SBATCH --partition=nowhere\n#SBATCH --array=$array\nexec $command\n")
    refused = diantu(*command(source, gallery, "--slurm-template", template))
    assert refused.returncode == 2
    assert "SLURM did not take the job" in refused.stderr.splitlines()[-1]
    assert "invalid partition specified: nowhere" in refused.stderr.splitlines()[-1]
    assert not here.jobs()
    assert current(gallery) is None
    assert embed(find_shards([str(source)]), gallery, Histogram()).num_images == 22


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("exec $command --gres=$gpus", "'gpus'"),
        ("exec $command; echo $?", "Invalid placeholder"),
        ("#SBATCH --array=$array", "has no $command"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused(text: str, complaint: str, tmp_path: Path, here: Cluster) -> None:
    (tmp_path / "t.sh").write_text(text)
    with pytest.raises(InputError) as refused:
        Slurm(["histogram"], template=tmp_path / "t.sh")
    assert complaint in str(refused.value)


def test_a_task_that_was_given_up_but_lives_does_no_harm(
    source: Path, whole: Path, tmp_path: Path, here: Cluster
) -> None:
    """Its shard ends twice. What the cancelled submission has done is kept by the next job, whatever runs that."""
    gallery = tmp_path / "g"
    executor = Slurm(["histogram"], num_tasks=1, lease_seconds=0.01, template=held(tmp_path))
    with planned(executor, find_shards([str(source)]), gallery) as wanted:
        submission = executor.submit(wanted, gallery)
    zombie = Owner(str(submission.state.array), 7, 0)
    late = run_jobs(submission.jobs[:1], gallery, [Histogram()], LoopSettings())
    next(late)  # it has begun
    (submission.folder / "beats" / str(zombie)).touch()
    (submission.folder / "claims" / "0.0").symlink_to(str(zombie))
    with pytest.raises(InputError, match="is being embedded by 2 tasks of SLURM"):
        embed(find_shards([str(source)]), gallery, Histogram())
    with signals_kept():
        run_task(submission, {"SLURM_JOB_ID": "99", "SLURM_ARRAY_JOB_ID": zombie.array, "SLURM_ARRAY_TASK_ID": "0"})
        time.sleep(0.3)
        run_task(submission, {"SLURM_JOB_ID": "99", "SLURM_ARRAY_JOB_ID": zombie.array, "SLURM_ARRAY_TASK_ID": "1"})
    assert submission.ended() == set(range(12))
    taken_over = submission.end_of(0, submission.jobs[0])
    (written,) = [event for event in late if isinstance(event, Written)]
    assert isinstance(taken_over, Written)
    assert written.attempt != taken_over.attempt
    submission.record(0, written, str(zombie))
    here.command("scancel", f"--name={submission.name}")
    here.wait_until_idle()
    summary = embed(find_shards([str(source)]), gallery, Histogram())
    assert summary.num_images == 22
    assert submission.is_over()
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
def test_who_waits_gets_a_summary(source: Path, whole: Path, tmp_path: Path, jobs: Zygote, cluster: Cluster) -> None:
    waiting = jobs.start(*command(source, tmp_path / "g", "--wait"))
    assert waiting.wait() == 1, waiting.stderr()  # one file is not a tar
    assert "22 images in" in waiting.stderr().splitlines()[-1]
    assert_complete(tmp_path / "g", whole)
    cluster.wait_until_idle()


@pytest.mark.slow
def test_who_stops_waiting_cancels_the_tasks_and_another_executor_continues(
    source: Path, whole: Path, tmp_path: Path, jobs: Zygote, cluster: Cluster
) -> None:
    gallery = tmp_path / "g"
    waiting = jobs.start(*command(source, gallery, "--wait"))
    wait_until(lambda: ended(gallery) or waiting.poll() is not None, "a shard", pause=0.01)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait() == 130, waiting.stderr()
    cluster.wait_until_idle()
    assert jobs.start(*command(source, gallery, "--executor", "local")).wait() == 1  # two processes
    assert_complete(gallery, whole)


@pytest.mark.slow
@pytest.mark.parametrize("warning", ["USR1", "TERM"])
def test_a_task_that_is_warned_gives_back_its_shards(
    tmp_path: Path, jobs: Zygote, cluster: Cluster, warning: str
) -> None:
    """SIGUSR1 before the time limit queues it again; SIGTERM ends it, and the last task submits another array."""
    (tmp_path / "s").mkdir()
    source, gallery = write_shards(tmp_path / "s", 300), tmp_path / "g"
    assert jobs.start(*command(source, gallery, tasks=1)).wait() == 0
    wait_until(lambda: ended(gallery) > 3, "the first shards", pause=0.1)
    submission = current(gallery)
    assert submission
    array = f"{submission.state.array}_0"
    cluster.command("scancel", f"--signal={warning}", "--batch", array)
    wait_until(lambda: not cluster.tasks(), "the end of the task", pause=0.1)
    assert len(submission.ended()) < 300
    assert set(claimed(submission.folder / "claims")) == submission.ended()  # the others were never begun
    if warning == "USR1":
        assert array in cluster.jobs()
    cluster.wait_until_idle()
    embed(find_shards([str(source)]), tmp_path / "w", Histogram())
    assert report(gallery).count("shards are left, submitted again") == (0 if warning == "USR1" else 1)
    assert_complete(gallery, tmp_path / "w")


@pytest.mark.slow
def test_a_shard_over_which_every_task_dies_is_given_up(tmp_path: Path, jobs: Zygote, cluster: Cluster) -> None:
    (tmp_path / "s").mkdir()
    source, gallery = write_shards(tmp_path / "s", 12), tmp_path / "g"
    image = io.BytesIO()
    Image.new("RGB", (64, 64), FATAL).save(image, "PNG")
    write_tar(source / "00005.tar", [("w.png", image.getvalue())])
    assert jobs.start(*command(source, gallery)).wait() == 0
    cluster.wait_until_idle()
    assert "00005.tar: 3 embedding processes died over it" in report(gallery)
    progress = Ledger(gallery).progress()
    assert [part.number for part in progress.quarantined] == [2, 5]
    assert progress.num_rows == 20
    assert not verify_gallery(gallery).sentences


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_tasks_and_the_node_are_killed_every_ten_seconds(
    tmp_path: Path, jobs: Zygote, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed tasks, requeued tasks and a node that fails; the gallery has the bytes of one process."""
    source, gallery = tmp_path / "s", tmp_path / "g"
    source.mkdir()
    write_shards(source, SHARDS)
    rng, kills, killed_at = random.Random(1), {"process": 0, "requeue": 0, "node": 0}, time.monotonic()
    started, ended_before = time.monotonic(), 0
    submitted = jobs.start(*command(source, gallery, tasks=4))
    assert submitted.wait() == 0, submitted.stderr()
    while cluster.jobs():
        cluster.start_now()
        time.sleep(0.5)
        # On a machine that is so busy that tasks take longer to start, they live until one of them ends a shard.
        is_time = time.monotonic() - killed_at > KILL_SECONDS and ended(gallery) > ended_before
        if is_time and cluster.tasks():
            kind = rng.choices(list(kills), (6, 2, 1))[0]
            kill(cluster, kind, rng)
            kills[kind] += 1
            killed_at, ended_before = time.monotonic(), ended(gallery)
    seconds = time.monotonic() - started
    assert (gallery / "parts").exists(), report(gallery)
    embed(find_shards([str(source)]), tmp_path / "w", Histogram())
    logs = len(list((gallery / "slurm" / "logs").glob("*/*-last.out")))
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
