"""Speed of `diantu embed` compared with the limit of the hardware and with clip-retrieval, in one run.

    python -m diantu.scripts.bench_embed --shards shards/ --encoder hf:clip-vit-base-patch32 [--peer ENVIRONMENT]

Measured on the same shards and weights, medians of `--repeats`: (a) the model alone on random pixels, (b) reading,
decoding, preprocessing and image features alone on all CPU cores, through the functions of the job, (c) the whole
command, by the images/s of its last line and by the wall clock, which includes start-up. The limit of c is min(a, b) if
a GPU runs the model, and 1 / (1/a + 1/b) on a CPU, where both share the cores. Also measured: how precision `auto`
changes the vectors.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from ..datasets import Entry, decode, find_shards, read_sample, scan
from ..indexing.embed.decoder import Decoder
from ..indexing.embed.job import BATCH_SIZE
from ..indexing.embed.scanning import Chunk
from ..indexing.encoders import EncoderSpec, ImageEncoder, Preprocess, load_encoder, preprocess
from ..indexing.encoders.preprocessing import stacked
from ..indexing.encoders.spec import num_at_once, start_images
from ..indexing.store.ledger import ShardJob
from .main import call

_MODEL_SECONDS = 8.0


def run(
    shards: str,
    encoder: str,
    repeats: int = 3,
    batch_size: int | None = None,
    num_workers: int | None = None,
    peer: str | None = None,
) -> int:
    """Measures an encoder and prints the ratios.

    Args:
        shards: a folder of tars.
        encoder: the encoder, as in diantu embed.
        repeats: how often each is measured; medians are printed.
        batch_size: as in diantu embed.
        num_workers: as in diantu embed.
        peer: a virtual environment with clip-retrieval, whose inference runs on the same shards, without texts.
    """
    loaded = load_encoder(encoder)
    on_gpu = torch.cuda.is_available()
    size = batch_size or BATCH_SIZE["cuda" if on_gpu else "cpu"]
    found = find_shards([shards])
    entries = [entry for shard in found for entry in scan(shard).entries]
    job = ShardJob(part=0, shard=found[0])
    print(f"{len(entries)} images, {encoder}, batches of {size}, {os.cpu_count()} CPU cores, GPU: {on_gpu}")

    model, decoding, loop, process = [], [], [], []
    for _ in range(repeats):  # in turn, so that a slow minute of the machine affects all of them
        model.append(_model_alone(loaded, size))
        decoding.append(_decoding_alone(entries, job, loaded.spec, size))
        by_loop, by_process = _embed(shards, encoder, batch_size, num_workers)
        loop.append(by_loop)
        process.append(by_process)
    a, b, c = (statistics.median(speeds) for speeds in (model, decoding, loop))
    limit = min(a, b) if on_gpu else 1 / (1 / a + 1 / b)
    print(f"a  model alone                 {a:8.1f} images/s   {_spread(model)}")
    print(f"b  all before the model, alone {b:8.1f} images/s   {_spread(decoding)}")
    print(f"c  diantu embed                {c:8.1f} images/s   {_spread(loop)}")
    print(f"   with start-up               {statistics.median(process):8.1f} images/s   {_spread(process)}")
    print(f"c / limit ({'min(a, b)' if on_gpu else '1 / (1/a + 1/b)'} = {limit:.1f})  {c / limit:.3f}")
    _print_precision(encoder, entries, loaded)
    if peer:
        theirs = [_peer(Path(peer), shards, encoder, size) for _ in range(repeats)]
        print(f"clip-retrieval, with start-up  {statistics.median(theirs):8.1f} images/s   {_spread(theirs)}")
        ratio = statistics.median(process) / statistics.median(theirs)
        print(f"diantu ÷ clip-retrieval, both with start-up  {ratio:.2f}")
    return 0


def _spread(speeds: list[float]) -> str:
    return f"({min(speeds):.1f} to {max(speeds):.1f})"


def _model_alone(encoder: ImageEncoder, batch_size: int) -> float:
    side = encoder.spec.image_size
    pixels = torch.randint(0, 256, (batch_size, 3, side, side), dtype=torch.uint8)
    encoder.encode_images(pixels)
    ahead = [start_images(encoder, pixels) for _ in range(num_at_once(encoder))]
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < _MODEL_SECONDS:
        ahead.append(start_images(encoder, pixels))
        ahead.pop(0)()
        done += batch_size
    speed = done / (time.perf_counter() - started)
    for vectors in ahead:  # which would run on beside what is measured next
        vectors()
    return speed


def _decoding_alone(entries: list[Entry], job: ShardJob, spec: EncoderSpec, size: int) -> float:
    count = os.cpu_count() or 1
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        work = partial(_decode_all, job=job, spec=spec, size=size)
        list(pool.map(work, [entries[:8]] * count))  # start-up is not measured
        started = time.perf_counter()
        list(pool.map(work, [entries[i::count] for i in range(count)]))
        return len(entries) / (time.perf_counter() - started)


def _decode_all(entries: list[Entry], job: ShardJob, spec: EncoderSpec, size: int) -> None:
    torch.set_num_threads(1)
    decoder = Decoder([Preprocess(spec)])
    for start in range(0, len(entries), size):
        decoder.decode(Chunk(job=job, entries=entries[start : start + size]), map)


def _embed(shards: str, encoder: str, batch_size: int | None, num_workers: int | None) -> tuple[float, float]:
    """Runs `diantu embed`; returns the images/s of its last line, and those of the wall clock."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "diantu.scripts.main", "embed", "--source", shards, "--output", f"{folder}/g"]
        command += ["--encoder", encoder]
        command += [] if batch_size is None else ["--batch-size", str(batch_size)]
        command += [] if num_workers is None else ["--num-workers", str(num_workers)]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - started
    images, speed = re.findall(r"(\d+) images in .*\(([\d.]+) images/s\)", done.stderr)[-1]
    return float(speed), int(images) / seconds


def _print_precision(encoder: str, entries: list[Entry], auto: ImageEncoder) -> None:
    exact = load_encoder(encoder, precision="fp32")
    pixels_CHW = [
        preprocess(decode(read_sample(entry).image), auto.spec) for entry in entries[:: len(entries) // 184 or 1]
    ]
    pixels = stacked(pixels_CHW)
    cosines = np.concatenate(
        [(auto.encode_images(batch) * exact.encode_images(batch)).sum(axis=1) for batch in pixels.split(16)]
    )
    worst, mean = cosines.min(), cosines.mean()
    print(f"precision auto against fp32, {len(cosines)} images: cosine worst {worst:.5f}, mean {mean:.5f}")


def _peer(environment: Path, shards: str, encoder: str, batch_size: int) -> float:
    """Runs clip-retrieval's inference without texts; returns the images/s of the wall clock."""
    model = "hf_clip:" + encoder.partition(":")[2]
    tars = sorted(Path(shards).glob("*.tar"))
    pattern = f"{shards}/{{{tars[0].stem}..{tars[-1].stem}}}.tar"
    num_images = sum(shard.num_entries or 0 for shard in map(scan, find_shards([shards])))
    with tempfile.TemporaryDirectory() as folder:
        command = [str(environment / "bin" / "clip-retrieval"), "inference", "--input_dataset", pattern]
        command += [
            "--output_folder",
            folder,
            "--input_format",
            "webdataset",
            "--clip_model",
            model,
            "--enable_text=False",
        ]
        command += ["--enable_metadata=False", "--batch_size", str(batch_size), "--num_prepro_workers", "2"]
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "HOME": folder})
        seconds = time.perf_counter() - started
        written = sum(len(np.load(path, mmap_mode="r")) for path in Path(folder).rglob("img_emb_*.npy"))
    if written < num_images:
        raise RuntimeError(f"clip-retrieval wrote {written} of {num_images} rows: {done.stderr[-2000:]}")
    return num_images / seconds


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_embed", sys.argv[1:]))
