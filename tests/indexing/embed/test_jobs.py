"""Embedding with several processes, signals, a full disk, and shards that disappear.

`DIANTU_KILLS=30` kills a job 30 times; by default it is killed twice.
"""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from command_line import CommandLine
from histogram import FATAL, Histogram
from pictures import jpeg, same_tree, write_tar
from PIL import Image
from zygote import Job, Zygote, num_parts, wait_for_parts, wait_until

from diantu.datasets import find_shards
from diantu.indexing.embed import job as embed_module
from diantu.indexing.embed.job import embed
from diantu.indexing.store.ledger import Ledger
from diantu.indexing.store.verify import verify_gallery

KILLS = int(os.environ.get("DIANTU_KILLS", "2"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of 40 images, some of them broken; one file is not a tar."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(5):
        members = [
            (f"{i:03d}.jpg", b"broken" if i % 13 == shard else jpeg(40 * shard + i, (300, 200))) for i in range(40)
        ]
        write_tar(folder / f"{shard:05d}.tar", members)
    (folder / "00002.tar").write_bytes(b"no tar")
    return folder


def command(source: Path, gallery: Path, *options: str, encoder: str = "histogram") -> list[str]:
    start = ["embed", "--source", str(source), "--output", str(gallery), "--encoder", encoder]
    return [*start, "--batch-size", "8", *options]


@pytest.fixture(scope="module")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory, jobs: Zygote) -> Path:
    """The gallery that a job without interruptions writes."""
    gallery = tmp_path_factory.mktemp("whole") / "g"
    assert jobs.start(*command(source, gallery, "--num-workers", "0")).wait() == 1  # one file is not a tar
    return gallery


def descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_several_processes_give_the_same_bytes(source: Path, whole: Path, tmp_path: Path, jobs: Zygote) -> None:
    """They load the encoder by name, so each finds the entry point of its package by itself."""
    job = jobs.start(*command(source, tmp_path / "g", "--num-processes", "2", "--num-workers", "0"))
    assert job.wait() == 1, job.stderr()
    assert "00002.tar is not a tar that can be read" in job.stderr()
    assert " images in " in job.stderr().splitlines()[-1]
    assert same_tree(tmp_path / "g", whole)


def test_an_encoder_that_cannot_be_loaded_ends_all_processes(source: Path, tmp_path: Path, jobs: Zygote) -> None:
    job = jobs.start(*command(source, tmp_path / "g", "--num-processes", "2", encoder="conse:x"))
    assert job.wait() == 2
    assert "encoder 'conse:x' is not known" in job.stderr().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_running(source: Path, whole: Path, tmp_path: Path, jobs: Zygote, signum: int) -> None:
    gallery = tmp_path / "g"
    job = jobs.start(*command(source, gallery, "--num-processes", "2", "--num-workers", "1"))
    wait_for_parts(job, gallery, 1)
    job.send_signal(signal.SIGSTOP)  # or it might end before it is asked to
    assert job.poll() is None, job.stderr()
    children = descendants(job.pid)
    for pid in children if signum == signal.SIGINT else ():  # Ctrl-C reaches all processes of a terminal
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)
    job.send_signal(signum)
    job.send_signal(signal.SIGCONT)
    ended = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}[signum]
    assert job.wait() == ended, job.stderr()
    if signum != signal.SIGKILL:
        assert job.stderr().splitlines()[-1] == "diantu: stopped; run the same command again to continue"
        assert "Traceback" not in job.stderr()
    assert len(children) >= 4
    wait_until(lambda: not any(map(is_alive, children)), "the end of the job's processes", pause=0.05)
    assert jobs.start(*command(source, gallery)).wait() == 1
    assert same_tree(gallery, whole)


def workers(job: Job) -> list[int]:
    """The embedding processes of a job without workers that decode: what the server of forks has forked."""
    servers = [pid for pid in descendants(job.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return [pid for pid in servers if not set(descendants(pid)) & set(servers)]


@pytest.mark.slow
def test_a_process_that_dies_is_replaced(source: Path, whole: Path, tmp_path: Path, jobs: Zygote) -> None:
    job = jobs.start(*command(source, tmp_path / "g", "--num-processes", "2", "--num-workers", "0"))
    for num_done in (0, 1, 2):
        wait_for_parts(job, tmp_path / "g", num_done)
        wait_until(lambda: len(workers(job)) == 2 or job.poll() is not None, "two processes", pause=0.05)
        os.kill(random.choice(workers(job)), signal.SIGKILL)
    assert job.wait() == 1, job.stderr()  # one file is not a tar
    assert "died" not in job.stderr()
    assert same_tree(tmp_path / "g", whole)


def fatal() -> bytes:
    """An image over which the process dies that encodes it."""
    image = io.BytesIO()
    Image.new("RGB", (64, 64), FATAL).save(image, "PNG")
    return image.getvalue()


def test_a_shard_over_which_every_process_dies_is_given_up(source: Path, tmp_path: Path, jobs: Zygote) -> None:
    (tmp_path / "s").mkdir()
    for name in ("00000", "00001", "00003", "00004"):
        shutil.copy(source / f"{name}.tar", tmp_path / "s")
    write_tar(tmp_path / "s" / "00002.tar", [("w.png", fatal())])
    job = jobs.start(*command(tmp_path / "s", tmp_path / "g", "--num-processes", "2", "--num-workers", "0"))
    assert job.wait() == 1, job.stderr()
    assert "00002.tar: 3 embedding processes died over it" in job.stderr()
    progress = Ledger(tmp_path / "g").progress()
    assert [part.num_rows for part in progress.parts] == [36, 37, 0, 37, 37]
    assert [part.number for part in progress.quarantined] == [2]
    assert not verify_gallery(tmp_path / "g").sentences
    assert not (tmp_path / "g" / "attempts").exists()


def test_processes_that_die_whatever_they_do_end_the_job(tmp_path: Path, jobs: Zygote) -> None:
    (tmp_path / "s").mkdir()
    for shard in range(8):
        write_tar(tmp_path / "s" / f"{shard}.tar", [("w.png", fatal())])
    job = jobs.start(*command(tmp_path / "s", tmp_path / "g", "--num-processes", "2", "--num-workers", "0"))
    assert job.wait() == 1
    assert "embedding processes died in a row" in job.stderr().splitlines()[-1]
    assert "Traceback" not in job.stderr()


def test_a_full_disk_ends_in_one_sentence_and_resumes(source: Path, whole: Path, tmp_path: Path, jobs: Zygote) -> None:
    """A limit on the size of files stands for the full disk, because writes fail at the same place."""

    arguments = command(source, tmp_path / "g", "--num-workers", "0")
    full = jobs.start(*arguments, most_bytes=2000)
    assert full.wait() == 1
    assert "File too large" in full.stderr().splitlines()[-1]
    assert "Traceback" not in full.stderr()
    assert jobs.start(*arguments).wait() == 1
    assert same_tree(tmp_path / "g", whole)


def test_a_shard_that_disappears_while_it_is_read_is_tried_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shard counts as unreadable, not its samples as broken; the next attempt reads all of it."""
    tar = tmp_path / "s.tar"
    tar.write_bytes((source / "00000.tar").read_bytes())
    encoder = Histogram()

    class Unplugging:
        """The real encoder; the tar disappears during its first batch and is back before the next attempt."""

        spec = encoder.spec
        preprocess = encoder.preprocess
        is_first = True

        def encode_images(self, pixels_BCHW):
            if self.is_first:
                tar.rename(tmp_path / "away.tar")
                self.is_first = False
            return encoder.encode_images(pixels_BCHW)

    monkeypatch.setattr(embed_module.time, "sleep", lambda _: (tmp_path / "away.tar").rename(tar))
    summary = embed(find_shards([str(tar)]), tmp_path / "g", Unplugging(), batch_size=4)
    assert summary.quarantined == ()
    (part,) = Ledger(tmp_path / "g").progress().parts
    assert (part.num_rows, part.failures) == (36, {"undecodable": 4})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_ends_in_one_sentence(
    source: Path, tmp_path: Path, diantu: CommandLine
) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = diantu(*command(source, tmp_path / "locked" / "g"))
    assert done.returncode == 1
    assert "Permission denied" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.timeout(300 + 60 * KILLS)
def test_rounds_of_kills_and_changing_workers(source: Path, whole: Path, tmp_path: Path, jobs: Zygote) -> None:
    """SIGKILL and SIGTERM at random moments, each time with other numbers of workers and processes."""
    rng = random.Random(1)
    gallery, number = tmp_path / "g0", 0
    for _ in range(KILLS):
        options = ["--num-workers", str(rng.randint(0, 2)), "--num-processes", str(rng.choice((1, 1, 2)))]
        job = jobs.start(*command(source, gallery, *options))
        wait_for_parts(job, gallery, num_parts(gallery) + rng.randint(0, 1))
        time.sleep(rng.uniform(0, 0.15))  # a random moment, not a wait for something
        job.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM)))
        job.wait()
        if num_parts(gallery) >= 4:
            assert jobs.start(*command(source, gallery)).wait() == 1
            assert same_tree(gallery, whole)
            number += 1
            gallery = tmp_path / f"g{number}"
    assert jobs.start(*command(source, gallery)).wait() == 1  # what the last kills have left
    assert same_tree(gallery, whole)
    assert number >= KILLS // 10
