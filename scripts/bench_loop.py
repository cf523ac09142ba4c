"""What the embedding loop costs beside the model, compared with plain Pillow and with another commit, in one run.

    python -m diantu.scripts.bench_loop --shards shards/ [--before ENVIRONMENT/bin/python]

CPU time of all processes in ms per image, medians of `--repeats`, in turn for both commits: `read` is reading,
decoding, resizing to CLIP's 224 × 224 and image features, through the loop's own functions in this process; `loop` is
the whole job with `--num-workers` workers and an encoder that costs nothing, and of that `main thread` and `main
process`; `pillow` is Pillow's decoding and resizing alone. Then a job with
an encoder that sleeps as long as a GPU would compute, and what its speed would need.
"""

from __future__ import annotations

import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..datasets import find_shards, read_sample, scan
from ..indexing.embed import embed
from ..indexing.embed.loader import batches
from ..indexing.encoders import EncoderSpec, Preprocess
from ..indexing.store.ledger import Ledger
from .main import call

# Images per second of 35 % of an H100's bf16 peak.
MODELS = {"ViT-B/32": 39_000, "ViT-B/16": 9_900, "ViT-L/14": 2_100}
_SIDE = 224
# Runs this file in an environment whose commit may not have it.
_MEASURE = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("diantu.scripts.bench_loop", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.measure(sys.argv[2], int(sys.argv[3]))
"""
_DIM = 512


class Sleeping:
    """An encoder that sleeps as long as a model of some speed computes; its vectors say nothing."""

    def __init__(self, images_per_second: float = float("inf")) -> None:
        fields: dict[str, Any] = {"resizer": "torch"} if "resizer" in EncoderSpec.__dataclass_fields__ else {}
        self.spec = EncoderSpec(name="sleeping", dim=_DIM, image_size=_SIDE, resize="shortest_edge_crop", **fields)
        self.preprocess = Preprocess(self.spec)
        self._speed = images_per_second
        self._is_free_at = 0.0
        self._vectors = np.eye(1, _DIM, dtype=np.float32).repeat(1024, axis=0)

    def encode_images(self, pixels_BCHW: torch.Tensor) -> np.ndarray:
        """The same vector for every image."""
        return self.start_images(pixels_BCHW)()

    def start_images(self, pixels_BCHW: torch.Tensor) -> Callable[[], np.ndarray]:
        """One batch after the other, like a GPU."""
        count = len(pixels_BCHW)
        end = self._is_free_at = max(self._is_free_at, time.perf_counter()) + count / self._speed

        def vectors() -> np.ndarray:
            time.sleep(max(0.0, end - time.perf_counter()))
            return self._vectors[:count]

        return vectors


def run(shards: str, repeats: int = 3, num_workers: int | None = None, before: str | None = None) -> int:
    """Measures the loop and prints the ratios.

    Args:
        shards: a folder of tars.
        repeats: how often each is measured; medians are printed.
        num_workers: processes that read and decode; by default one per CPU core.
        before: the Python of an environment with another commit, which is measured in turn with this one.
    """
    workers = num_workers or os.cpu_count() or 1
    pythons = {"now": sys.executable, **({"before": before} if before else {})}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in pythons}
    for _ in range(repeats):
        for name, python in pythons.items():
            found[name].append(_measured_by(python, shards, workers))
    ms = {
        name: {fact: statistics.median(one[fact] for one in runs) for fact in runs[0]} for name, runs in found.items()
    }
    print(f"CPU ms per image, {workers} workers, medians of {repeats}")
    for name, facts in ms.items():
        print(f"{name:7s} " + "  ".join(f"{fact} {value:.3f}" for fact, value in facts.items() if "/s" not in fact))
    now = ms["now"]
    print(f"loop ÷ pillow         {now['loop'] / now['pillow']:.2f}")
    if before:
        print(f"read, before ÷ now    {ms['before']['read'] / now['read']:.2f}")
        print(f"loop, before ÷ now    {ms['before']['loop'] / now['loop']:.2f}")
    workers_ms = now["loop"] - now["main process"]
    for model, speed in MODELS.items():
        print(f"{model}: the encoder takes {speed} images/s, the job reaches {now[model + '/s']:.0f} here;")
        needed, allowed = speed * workers_ms / 1000, 1000 / now["main thread"]
        print(f"    the main thread allows {allowed:.0f}, workers need {needed:.1f} cores")
    return 0


def _measured_by(python: str, shards: str, workers: int) -> dict[str, float]:
    """Measures a commit in a process of its environment."""
    command = [python, "-c", _MEASURE, __file__, shards, str(workers)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout)


def measure(source: str, workers: int) -> None:
    """Prints, as JSON, the CPU ms per image of each part, and the images/s of jobs whose encoder sleeps."""
    torch.set_num_threads(1)
    shards = find_shards([source])
    images = [read_sample(entry).image for shard in shards for entry in scan(shard).entries]
    count = len(images)
    found = {"pillow": _cpu_ms(lambda: [_by_pillow(data) for data in images], count)}
    with tempfile.TemporaryDirectory() as folder:
        found["read"] = _cpu_ms(lambda: [None for _ in _read(shards, Path(folder))], count)
        embed(shards[:1], Path(folder) / "warm", Sleeping(), num_workers=workers, batch_size=256)
        before = _children_seconds(), time.process_time(), time.thread_time()
        embed(shards, Path(folder) / "g", Sleeping(), num_workers=workers, batch_size=256)
        after = _children_seconds(), time.process_time(), time.thread_time()
        children, process, thread = ((b - a) / count * 1000 for a, b in zip(before, after, strict=True))
        found |= {"loop": children + process, "main process": process, "main thread": thread}
        for i, (model, speed) in enumerate(MODELS.items()):
            started = time.perf_counter()
            embed(shards, Path(folder) / f"g{i}", Sleeping(speed), num_workers=workers, batch_size=256)
            found[model + "/s"] = count / (time.perf_counter() - started)
    print(json.dumps(found))


def _cpu_ms(work: Any, count: int) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) / count * 1000


def _read(shards: Any, folder: Path) -> Iterator[Any]:
    jobs = Ledger(folder).assign(shards, lambda shard: True)
    return batches(jobs, folder, [Sleeping()], batch_size=16, num_workers=0, on_event=lambda event: None)


def _by_pillow(data: bytes) -> np.ndarray:
    """As torchvision's transforms of CLIP do it, up to an array."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    share = _SIDE / min(image.size)
    image = image.resize((int(image.width * share), int(image.height * share)), Image.Resampling.BICUBIC)
    left, top = (image.width - _SIDE) // 2, (image.height - _SIDE) // 2
    return np.asarray(image.crop((left, top, left + _SIDE, top + _SIDE)))


def _children_seconds() -> float:
    """CPU time of the workers: of the process that they are forks of, with those that have ended."""
    time.sleep(0.5)  # until it knows of their end
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined] - there is no public way to it
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_loop", sys.argv[1:]))
