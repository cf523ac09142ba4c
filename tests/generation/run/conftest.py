from __future__ import annotations

from pathlib import Path

import pytest
from pictures import jpeg


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven images of two sizes."""
    folder = tmp_path_factory.mktemp("shop")
    for i in range(7):
        (folder / f"{i}.jpg").write_bytes(jpeg(seed=i, size=(48, 36) if i % 3 else (36, 48)))
    return folder
