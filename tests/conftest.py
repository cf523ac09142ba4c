from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a hub should fail at once, not after retries
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_clip

    return save_clip(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture(scope="session")
def chinese_clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_chinese_clip

    return save_chinese_clip(tmp_path_factory.mktemp("models") / "chinese_clip")


@pytest.fixture(scope="session")
def dinov2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_dinov2

    return save_dinov2(tmp_path_factory.mktemp("models") / "dinov2")


@pytest.fixture(scope="session")
def dinov2_with_registers_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_dinov2_with_registers

    return save_dinov2_with_registers(tmp_path_factory.mktemp("models") / "dinov2_with_registers")


@pytest.fixture(scope="session")
def dinov3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_dinov3

    return save_dinov3(tmp_path_factory.mktemp("models") / "dinov3")


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_siglip

    return save_siglip(tmp_path_factory.mktemp("models") / "siglip")


@pytest.fixture(scope="session")
def siglip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_siglip2

    return save_siglip2(tmp_path_factory.mktemp("models") / "siglip2")


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
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `diantu demo` writes: shards/, gallery/, demo.html."""
    from diantu.scripts.demo import run

    folder = tmp_path_factory.mktemp("demo") / "diantu-demo"
    assert run(str(folder)) == 0
    return folder
