"""Jobs under pressure: several processes, signals, a full disk, shards that come and go.

`DIANTU_KILLS=30` kills a job as often; the suite does it less often.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pictures import jpeg, same_tree, write_tar
from zygote import Zygote, zygote

from diantu.datasets import find_shards
from diantu.indexing.embed import job as embed_module
from diantu.indexing.embed.job import embed
from diantu.indexing.encoders import load_encoder
from diantu.indexing.store.ledger import Ledger

KILLS = int(os.environ.get("DIANTU_KILLS", "4"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five shards of 40 pictures, some broken, one no tar at all."""
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(5):
        members = [
            (f"{i:03d}.jpg", b"broken" if i % 13 == shard else jpeg(40 * shard + i, (300, 200))) for i in range(40)
        ]
        write_tar(folder / f"{shard:05d}.tar", members)
    (folder / "00002.tar").write_bytes(b"no tar")
    return folder


def command(source: Path, gallery: Path, model: Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "diantu.scripts.main", "embed", "--source", str(source), "--output", str(gallery)]
    return [*start, "--encoder", f"hf:{model}", "--batch-size", "8", *options]


@pytest.fixture(scope="module")
def whole(source: Path, clip_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    gallery = tmp_path_factory.mktemp("whole") / "g"
    done = subprocess.run(command(source, gallery, clip_folder, "--num-workers", "0"), check=False, capture_output=True)
    assert done.returncode == 1
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


def test_several_processes_give_the_same_bytes(source: Path, whole: Path, clip_folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(source, tmp_path / "g", clip_folder, "--num-processes", "2", "--num-workers", "0"),
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "00002.tar is not an uncompressed tar" in done.stderr
    assert " images in " in done.stderr.splitlines()[-1]
    assert same_tree(tmp_path / "g", whole)


def test_an_encoder_that_cannot_be_loaded_ends_all_processes(source: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(source, tmp_path / "g", Path("/no/model"), "--num-processes", "2"),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "cannot be loaded" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_running(source: Path, whole: Path, clip_folder: Path, tmp_path: Path, signum: int) -> None:
    options = ("--num-processes", "2", "--num-workers", "1")
    job = subprocess.Popen(command(source, tmp_path / "g", clip_folder, *options), stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "g" / "parts").glob("*.json")):
        assert job.poll() is None
        time.sleep(0.01)
    children = descendants(job.pid)
    job.send_signal(signum)
    stderr = job.communicate()[1]
    assert job.returncode == (130 if signum == signal.SIGTERM else -signal.SIGKILL)
    if signum == signal.SIGTERM:
        assert stderr.splitlines()[-1] == "diantu: stopped; run the same command again to continue"
    deadline = time.monotonic() + 20
    while any(is_alive(child) for child in children) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(children) >= 4
    assert not any(is_alive(child) for child in children)
    assert (
        subprocess.run(command(source, tmp_path / "g", clip_folder), check=False, capture_output=True).returncode == 1
    )
    assert same_tree(tmp_path / "g", whole)


def test_a_full_disk_ends_in_one_sentence_and_resumes(
    source: Path, whole: Path, clip_folder: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the full disk: writes fail in the same place."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    arguments = command(source, tmp_path / "g", clip_folder, "--num-workers", "0")
    done = subprocess.run(arguments, preexec_fn=limit, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert subprocess.run(arguments, check=False, capture_output=True).returncode == 1
    assert same_tree(tmp_path / "g", whole)


def test_a_shard_that_disappears_while_it_is_read_is_tried_again(
    source: Path, clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its samples are not taken for broken ones: the shard is, and the next try has it whole."""
    tar = tmp_path / "s.tar"
    tar.write_bytes((source / "00000.tar").read_bytes())
    encoder = load_encoder(f"hf:{clip_folder}", device="cpu")

    class Unplugging:
        """The real encoder; the disk goes away during its first batch and is back before the next try."""

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
def test_a_folder_that_may_not_be_written_ends_in_one_sentence(source: Path, clip_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    done = subprocess.run(
        command(source, tmp_path / "locked" / "g", clip_folder), check=False, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Permission denied" in done.stderr.splitlines()[-1]


@pytest.fixture(scope="module")
def jobs() -> Iterator[Zygote]:
    with zygote() as serving:
        yield serving


@pytest.mark.slow
def test_rounds_of_kills_and_changing_workers(
    source: Path, whole: Path, clip_folder: Path, tmp_path: Path, jobs: Zygote
) -> None:
    """SIGKILL and SIGTERM at random instants, with other numbers of workers and processes every time."""
    rng = random.Random(1)
    gallery, number = tmp_path / "g0", 0
    for _ in range(KILLS):
        options = ["--num-workers", str(rng.randint(0, 2)), "--num-processes", str(rng.choice((1, 1, 2)))]
        job = jobs.start(*command(source, gallery, clip_folder, *options)[3:])
        target = len(list((gallery / "parts").glob("*.json"))) + rng.randint(0, 1)
        while job.poll() is None and not (
            (gallery / "ledger.jsonl").exists() and len(list((gallery / "parts").glob("*.json"))) >= target
        ):
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.15))
        job.send_signal(rng.choice((signal.SIGKILL, signal.SIGTERM)))
        job.wait()
        if len(list((gallery / "parts").glob("*.json"))) >= 4:
            assert jobs.start(*command(source, gallery, clip_folder)[3:]).wait() == 1
            assert same_tree(gallery, whole)
            number += 1
            gallery = tmp_path / f"g{number}"
    assert jobs.start(*command(source, gallery, clip_folder)[3:]).wait() == 1  # what the last kills have left
    assert same_tree(gallery, whole)
    assert number >= KILLS // 10
