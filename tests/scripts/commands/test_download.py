"""`diantu download` against an HTTP server on this machine whose answers fail as those of the web do."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import CommandLine
from pictures import encoded
from PIL import Image
from zygote import PATIENCE_SECONDS, wait_until

from diantu.datasets import InputError, Sample, decode, find_shards, read_sample, scan
from diantu.scripts.commands.download import run

NUM_GOOD = 9
# Paths and what img2dataset should make of them. The names of good ones hold a space and Chinese.
BAD = {
    "/missing.jpg": "1 HTTP 404",
    "/gone.jpg": "1 HTTP 410",
    "/slow.jpg": "1 timed out",
    "/page.jpg": "2 not a readable image",
    "/broken.jpg": "2 not a readable image",
    "/short.jpg": "1 connection failed",
    "/private.jpg": "1 forbidden by X-Robots-Tag",
}


def colour(number: int) -> tuple[int, int, int]:
    return (20 + 25 * number, 250 - 25 * number, 40 * (number % 5))


def size(number: int) -> tuple[int, int]:
    """Width and height; the first three images must be shrunk to 32 pixels."""
    return ((128, 64), (64, 128), (96, 96))[number] if number < 3 else (20 + number, 30)


def jpeg_of(number: int) -> bytes:
    return encoded(Image.new("RGB", size(number), colour(number)), "JPEG", quality=95)


@dataclass
class Web:
    """The server's address, the paths of all requests, and an event that slow answers wait for."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    state = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path)
            state.asked.append(path)
            if path == "/slow.jpg":
                state.closing.wait(20)
                return
            if path.startswith("/gated/"):
                while not (state.gate.is_set() or state.closing.wait(0.05)):
                    pass
            with contextlib.suppress(ConnectionError):  # the client was stopped meanwhile
                self.answer(path)

        def answer(self, path: str) -> None:
            status = {"/missing.jpg": 404, "/gone.jpg": 410}.get(path, 200)
            number = re.search(r"(\d+)\.jpg", path)
            body = jpeg_of(int(number[1]) % 10) if number else b"<html>no picture here</html>"
            body = jpeg_of(1)[:100] if path == "/broken.jpg" else body
            self.send_response(status)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(body) + (50 if path == "/short.jpg" else 0)))
            if path == "/private.jpg":
                self.send_header("X-Robots-Tag", "noai")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # with the usual 5, some connections are made a second late

    server = Server(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1")
        yield state
    state.closing.set()
    server.shutdown()
    server.server_close()
    thread.join(30)


def process(*arguments: str | Path) -> subprocess.Popen[str]:
    """`diantu download` in a process of its own."""
    command = [sys.executable, "-m", "diantu.scripts.main", "download", *map(str, arguments)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def write_table(path: Path, web: Web) -> Path:
    """Good and bad rows mixed, two without a URL, and two that a condition leaves out."""
    rows: list[dict[str, Any]] = []
    for number in range(NUM_GOOD):
        url = f"{web.address}/大熊猫 {number}.jpg"
        rows.append({"URL": url, "TEXT": f"picture, '{number}' 图", "red": colour(number)[0], "punsafe": 0.01})
    bad = [{"URL": web.address + path, "TEXT": path, "red": None, "punsafe": 0.01} for path in BAD]
    for place, row in enumerate(bad):
        rows.insert(2 * place, row)
    rows += [{"URL": None, "TEXT": "no url", "red": None, "punsafe": 0.0}] * 2
    rows += [{"URL": f"{web.address}/unsafe{i}.jpg", "TEXT": "unsafe", "red": 0, "punsafe": 0.9} for i in range(2)]
    table = pa.Table.from_pylist([{**row, "WIDTH": 1000 + i, "SAMPLE_ID": i} for i, row in enumerate(rows)])
    pq.write_table(table, path)
    return path


@dataclass(frozen=True)
class Download:
    arguments: tuple[str | Path, ...]
    shards: Path
    code: int
    stderr: str
    asked: list[str]

    def into(self, shards: Path) -> list[str | Path]:
        """The arguments of the same download into another folder, with one process: each imports for seconds."""
        return [*(shards if each == self.shards else each for each in self.arguments), "--num-processes", "1"]


@pytest.fixture(scope="module")
def download(web: Web, tmp_path_factory: pytest.TempPathFactory) -> Download:
    folder = tmp_path_factory.mktemp("download")
    table = write_table(folder / "laion.parquet", web)
    arguments = (
        *("--source", table, "--output", folder / "shards", "--where", "PUNSAFE < 0.1 AND width >= 1000"),
        *("--images-per-shard", "6", "--image-size", "32", "--timeout", "5"),
    )
    running = process(*arguments, "--num-processes", "2")
    _, stderr = running.communicate(timeout=PATIENCE_SECONDS)
    return Download(arguments, folder / "shards", running.returncode, stderr, list(web.asked))


def samples(shards: Path) -> list[Sample]:
    return [read_sample(entry) for shard in find_shards([str(shards)]) for entry in scan(shard).entries]


def test_every_row_is_accounted_for(download: Download) -> None:
    assert download.code == 0, download.stderr
    assert "20 rows, 18 of them meet the condition, 2 of those have no URL; 16 to download" in download.stderr
    *_, summary, following = download.stderr.splitlines()
    assert summary.startswith(f"{NUM_GOOD} of 16 images downloaded into 3 shards in ")
    assert "7 failed (" in summary
    for reason in BAD.values():
        assert reason in summary
    assert following == f"next: diantu embed --source {download.shards} --output gallery"
    assert "images per sec" in download.stderr  # img2dataset's own progress


def test_only_the_rows_that_meet_the_condition_were_asked_for(download: Download) -> None:
    assert sorted(download.asked) == sorted([*BAD, *(f"/大熊猫 {number}.jpg" for number in range(NUM_GOOD))])


def test_pictures_keep_their_captions_and_columns(download: Download) -> None:
    found = samples(download.shards)
    assert len(found) == NUM_GOOD
    for sample in found:
        number = int(re.findall(r"%20(\d)\.jpg", sample.metadata["url"])[0])
        pixels_HWC = decode(sample.image)
        assert np.abs(pixels_HWC.mean(axis=(0, 1)) - colour(number)).max() < 3
        assert sample.caption == f"picture, '{number}' 图"
        assert sample.metadata["red"] == colour(number)[0]
        assert sample.metadata["table_WIDTH"] == 1000 + sample.metadata["SAMPLE_ID"]
        assert (sample.metadata["original_width"], sample.metadata["original_height"]) == size(number)
        shrunk = {0: (64, 32), 1: (32, 64), 2: (32, 32)}.get(number, size(number))
        assert pixels_HWC.shape[1::-1] == shrunk
        if number >= 3:  # neither enlarged nor encoded again
            assert sample.image == jpeg_of(number)


def test_failed_rows_are_in_the_table_beside_the_tar(download: Download) -> None:
    rows = [row for path in download.shards.glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(rows) == 16
    failed = {row["caption"]: row["error_message"] for row in rows if row["status"] != "success"}
    assert set(failed) == set(BAD)
    assert all(failed.values())


def test_running_again_downloads_what_is_missing_only(
    download: Download, web: Web, tmp_path: Path, diantu: CommandLine
) -> None:
    shards = shutil.copytree(download.shards, tmp_path / "shards")
    web.asked.clear()
    again = diantu("download", *download.into(shards))
    assert again.returncode == 0
    assert not web.asked
    assert again.stderr.splitlines()[-2].startswith(f"{NUM_GOOD} of 16 images downloaded into 3 shards")

    (shards / "00002_stats.json").write_text('{"count": 4, ')  # stopped while it was being written
    (shards / "00002.tar").write_bytes(b"half of a tar")
    again = diantu("download", *download.into(shards))
    assert (again.returncode, again.stdout) == (0, ""), again.stderr
    assert again.stderr.splitlines()[-2].startswith(f"{NUM_GOOD} of 16 images downloaded into 3 shards")
    assert len(web.asked) == 4
    assert [s.image for s in sorted(samples(shards), key=lambda s: s.key)] == [
        s.image for s in sorted(samples(download.shards), key=lambda s: s.key)
    ]


@pytest.mark.slow
def test_a_download_that_is_ended_goes_on(web: Web, tmp_path: Path, diantu: CommandLine) -> None:
    """SIGTERM stops img2dataset and its workers too; finished shards are not downloaded again."""
    first, gated = ([f"{web.address}/{place}{number}.jpg" for number in range(4)] for place in ("", "gated/"))
    pq.write_table(pa.table({"url": first + gated}), tmp_path / "t.parquet")
    output = tmp_path / "shards"
    arguments = ("--source", tmp_path / "t.parquet", "--output", output, "--images-per-shard", "4", "--timeout", "60")
    web.asked.clear()
    running = process(*arguments, "--num-processes", "1")
    wait_until(lambda: len(web.asked) >= 8, "8 requests", pause=0.05)
    assert (output / "00000_stats.json").exists()
    other = diantu("download", *arguments)
    assert other.returncode == 2
    assert "another download is writing to" in other.stderr
    running.send_signal(signal.SIGTERM)
    _, errors = running.communicate(timeout=PATIENCE_SECONDS)
    assert running.returncode == 143
    assert errors.splitlines()[-1] == "diantu: stopped; run the same command again to continue"

    web.asked.clear()
    web.gate.set()
    done = diantu("download", *arguments, "--num-processes", "1")
    assert done.returncode == 0, done.stderr
    assert "8 of 8 images downloaded into 2 shards" in done.stderr
    assert sorted(web.asked) == [f"/gated/{number}.jpg" for number in range(4)]
    assert len(samples(output)) == 8
    assert not (output / "_tmp").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("broken", "code"), [("tar", 0), ("rows", 1)])
def test_shards_that_img2dataset_leaves_out_are_an_error(
    download: Download, tmp_path: Path, diantu: CommandLine, broken: str, code: int
) -> None:
    """img2dataset ends with 0 if a shard cannot be written, and with 1 if the shard's rows cannot be read."""
    shards = shutil.copytree(download.shards, tmp_path / "shards")
    for path in shards.glob("00001*"):
        path.unlink()
    if broken == "tar":
        (shards / "00001.tar").mkdir()
    else:
        rows = shards / ".download" / "rows" / "00000.parquet"
        rows.write_bytes(rows.read_bytes()[:4] + b"x" * 200 + rows.read_bytes()[204:])
    done = diantu("download", *download.into(shards))
    assert done.returncode == 1
    *_, summary, error = done.stderr.splitlines()
    assert error.startswith(f"img2dataset ended with {code} and left 1 of 3 shards undone")
    assert summary.endswith("6 not tried yet")


@pytest.mark.slow
def test_nothing_arrived_is_an_error(web: Web, tmp_path: Path, diantu: CommandLine) -> None:
    pq.write_table(pa.table({"url": [f"{web.address}/missing.jpg"]}), tmp_path / "t.parquet")
    done = diantu(
        "download", "--source", tmp_path / "t.parquet", "--output", tmp_path / "shards", "--num-processes", "1"
    )
    assert done.returncode == 1
    assert "0 of 1 images downloaded into 1 shards" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("no image could be downloaded")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": "punsave < 1"}, "the nearest: punsafe"),
        ({"num_processes": 0}, "number of processes 0"),
        ({"num_threads": 0}, "number of threads 0"),
        ({"timeout": 0}, "timeout 0"),
        ({"retries": -1}, "number of retries -1"),
        ({"resize_mode": "squash"}, "resize mode 'squash'"),
        ({"output": "a[0]"}, "as a pattern"),
        ({"source": ["none.parquet"]}, "matches no parquet file"),
    ],
)
def test_bad_usage_gets_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"url": ["http://127.0.0.1:1"], "punsafe": [0.1]}), "t.parquet")
    with pytest.raises(InputError, match=message) as refused:
        run(**{"source": ["t.parquet"], "output": "shards", **options})
    assert "\n" not in str(refused.value)


def test_without_img2dataset_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "img2dataset", None)  # as if it were not installed
    with pytest.raises(InputError, match=r'pip install "diantu\[download\]"'):
        run(source=["t.parquet"], output=str(tmp_path))
