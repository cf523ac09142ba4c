from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from command_line import CommandLine
    from zygote import Zygote

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share the cores, and models are small
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a hub should fail at once, not after retries
# A worker of xdist has the current folder in its path, where our datasets/ would hide Hugging Face's.
sys.path[:] = [entry for entry in sys.path if entry not in ("", str(Path(__file__).parents[1]))]
sys.path.insert(0, str(Path(__file__).parent))


def _folder_of(model: str) -> Callable[..., Path]:
    """A fixture: the folder of a small random model, written once a session by `tiny_models`."""

    @pytest.fixture(scope="session", name=f"{model}_folder")
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        import tiny_models

        return getattr(tiny_models, f"save_{model}")(tmp_path_factory.mktemp("models") / model)

    return folder


clip_folder = _folder_of("clip")
chinese_clip_folder = _folder_of("chinese_clip")
dinov2_folder = _folder_of("dinov2")
dinov2_with_registers_folder = _folder_of("dinov2_with_registers")
dinov3_folder = _folder_of("dinov3")
siglip_folder = _folder_of("siglip")
siglip2_folder = _folder_of("siglip2")


def _pipeline_of(name: str, **options: int) -> Callable[..., Path]:
    """A fixture: the folder of a small random pipeline of diffusers, written once a session by `tiny_pipelines`."""

    @pytest.fixture(scope="session", name=f"tiny_{name}")
    def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
        import tiny_pipelines

        save = getattr(tiny_pipelines, f"save_{name.removesuffix('_sdxl')}" if options else f"save_{name}")
        return save(tmp_path_factory.mktemp("pipelines") / f"tiny-{name}", **options)

    return folder


tiny_sd = _pipeline_of("sd")
tiny_inpaint = _pipeline_of("inpaint")  # 9 channels
tiny_sdxl = _pipeline_of("sdxl")
tiny_sd3 = _pipeline_of("sd3")  # a transformer, not a UNet
tiny_ip_adapter = _pipeline_of("ip_adapter")  # for `tiny_sd`: `models/tiny.safetensors`, `models/image_encoder`
tiny_ip_adapter_sdxl = _pipeline_of("ip_adapter_sdxl", cross_attention_dim=64)  # the same for `tiny_sdxl`


@pytest.fixture(scope="session")
def open_clip_vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `random.pt`, whose name open_clip knows as an architecture."""
    from tiny_models import save_open_clip

    vision = {"layers": 2, "width": 64, "head_width": 16, "patch_size": 16}
    return save_open_clip(tmp_path_factory.mktemp("models") / "tiny-vit", vision)


@pytest.fixture(scope="session")
def open_clip_resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a ResNet, whose vectors tell training mode from evaluation."""
    from tiny_models import save_open_clip

    vision = {"layers": [1, 1, 1, 1], "width": 16, "head_width": 16, "patch_size": None}
    return save_open_clip(tmp_path_factory.mktemp("models") / "tiny-resnet", vision)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder that `diantu demo` writes: shards/, gallery/, demo.html. One test process makes it for all."""
    from diantu.scripts.commands.demo import run

    own = tmp_path_factory.mktemp("demo") / "diantu-demo"
    # Without xdist the parent of the base folder belongs to earlier runs of pytest too.
    shared = own if worker_id == "master" else tmp_path_factory.getbasetemp().parent / own.name
    with shared.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "demo.html").exists():  # it is written last
            assert run(str(shared)) == 0
    return own if own == shared else shutil.copytree(shared, own)


@pytest.fixture
def diantu(capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """`diantu("status", "--gallery", folder)` runs the command line in this process."""
    from command_line import CommandLine

    return CommandLine(capfd)


@pytest.fixture(scope="session")
def jobs() -> Iterator[Zygote]:
    """Starts commands in processes of their own that have torch imported; a test can `preload` more."""
    from zygote import zygote

    with zygote() as serving:
        serving.preload("diantu.indexing.embed.job.embed", "jsonargparse.CLI")
        yield serving
