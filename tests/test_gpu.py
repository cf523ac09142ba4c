"""What runs on a GPU gives what the CPU gives, and the same again. Machines without one skip these tests."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import jpeg, same_tree, write_tar
from PIL import Image
from zygote import Zygote, num_parts, wait_for_parts

from diantu.datasets import decode
from diantu.generation.strategies import ModelOptions, load_strategies
from diantu.indexing.encoders import load_encoder
from diantu.indexing.encoders.spec import StartsImages

sys.path.insert(0, str(Path(__file__).parent / "generation"))

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU"),
    pytest.mark.slow,
]
SHARDS, IMAGES = 6, 40


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(SHARDS):
        members = [(f"{i:03d}.jpg", jpeg(IMAGES * shard + i, (120, 90))) for i in range(IMAGES)]
        write_tar(folder / f"{shard:05d}.tar", members)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _imported(jobs: Zygote) -> None:
    names = ("CLIPModel", "AutoConfig", "AutoImageProcessor", "AutoTokenizer", "CLIPImageProcessor")
    jobs.preload(*(f"transformers.{name}" for name in names))


def embed(jobs: Zygote, source: Path, gallery: Path, model: Path, *options: str):
    start = ("embed", "--source", source, "--output", gallery, "--encoder", f"hf:{model}", "--device", "cuda")
    return jobs.start(*start, *options)


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.9999), ("auto", 0.999)])
@pytest.mark.parametrize("model", ["clip", "chinese_clip", "siglip2", "dinov2", "dinov3"])
def test_vectors_are_those_of_the_cpu(model: str, precision: str, least: float, request: pytest.FixtureRequest) -> None:
    name = f"hf:{request.getfixturevalue(f'{model}_folder')}"
    gpu, cpu = (
        load_encoder(name, device="cuda", precision=precision),
        load_encoder(name, device="cpu", precision="fp32"),
    )
    pixels = torch.from_numpy(np.stack([cpu.preprocess(decode(jpeg(i, (90, 120)))) for i in range(16)]))
    cosines = (gpu.encode_images(pixels.pin_memory()) * cpu.encode_images(pixels)).sum(axis=1)
    assert cosines.min() >= least


def test_batches_that_overlap_have_their_own_vectors(clip_folder: Path) -> None:
    encoder = load_encoder(f"hf:{clip_folder}", device="cuda", precision="fp32")
    assert isinstance(encoder, StartsImages)
    side = encoder.spec.image_size
    batches = [torch.randint(0, 256, (16, 3, side, side), dtype=torch.uint8).pin_memory() for _ in range(8)]
    started = [encoder.start_images(pixels) for pixels in batches]
    for pixels, vectors in zip(batches, started, strict=True):
        np.testing.assert_allclose(vectors(), encoder.encode_images(pixels), atol=1e-5)


def test_texts_are_those_of_the_cpu(clip_folder: Path) -> None:
    gpu, cpu = (load_encoder(f"hf:{clip_folder}", device=device, precision="fp32") for device in ("cuda", "cpu"))
    texts = ["a red panda", "windmill by the sea", "x"]
    assert (gpu.encode_texts(texts) * cpu.encode_texts(texts)).sum(axis=1).min() >= 0.9999


def test_any_number_of_workers_and_a_kill_give_the_same_bytes(
    source: Path, clip_folder: Path, tmp_path: Path, jobs: Zygote
) -> None:
    assert embed(jobs, source, tmp_path / "whole", clip_folder).wait() == 0
    for number, options in enumerate((("--num-workers", "0"), ("--num-workers", "3"), ("--num-processes", "2"))):
        assert embed(jobs, source, tmp_path / f"g{number}", clip_folder, *options).wait() == 0
        assert same_tree(tmp_path / f"g{number}", tmp_path / "whole"), options
    job = embed(jobs, source, tmp_path / "killed", clip_folder, "--batch-size", "8")
    wait_for_parts(job, tmp_path / "killed", 2)
    job.send_signal(signal.SIGKILL)
    job.wait()
    assert num_parts(tmp_path / "killed") >= 2
    time.sleep(0.5)  # the lock is free as soon as the last process has noticed that its parent is gone
    assert embed(jobs, source, tmp_path / "killed", clip_folder, "--batch-size", "8").wait() == 0
    assert embed(jobs, source, tmp_path / "again", clip_folder, "--batch-size", "8").wait() == 0
    assert same_tree(tmp_path / "killed", tmp_path / "again")


@pytest.mark.parametrize(
    ("strategy", "model"), [("img2img", "tiny_sd"), ("img2img", "tiny_sdxl"), ("inpaint", "tiny_sd")]
)
def test_images_are_those_of_the_cpu(strategy: str, model: str, request: pytest.FixtureRequest) -> None:
    """The noise is drawn on the CPU, so that a seed means the same image on every device."""
    from drafts import distance, draft

    folder = str(request.getfixturevalue(model))
    gpu, cpu, auto = (
        load_strategies([strategy], {strategy: {"steps": 2}}, ModelOptions(name=folder, device=device, dtype=dtype))
        for device, dtype in (("cuda", "float32"), ("cpu", "float32"), ("auto", "auto"))
    )
    mask = Image.linear_gradient("L").resize((96, 64)).point(lambda value: 255 * (value > 127))
    drafts = [draft(number, mask=mask if strategy == "inpaint" else None) for number in range(3)]
    made = gpu.make(drafts)
    assert all(distance(one, other) <= 8 for one, other in zip(made, cpu.make(drafts), strict=True))
    assert all(distance(one, other) == 0 for one, other in zip(made, gpu.make(drafts), strict=True))
    assert auto.describe()["device"].startswith("cuda")
    assert auto.describe()["dtype"] == "bfloat16"
    assert all(one.image is not None for one in auto.make(drafts))
