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
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `diantu demo` writes: shards/, gallery/, demo.html."""
    from diantu.scripts.demo import run

    folder = tmp_path_factory.mktemp("demo") / "diantu-demo"
    assert run(str(folder)) == 0
    return folder
