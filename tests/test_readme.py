"""What the README shows is run as it stands there."""

from __future__ import annotations

import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diantu.datasets import photos
from diantu.scripts.main import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in re.findall(r"^    (diantu .+)$", README, re.MULTILINE)]
# What the commands name and a machine without a model hub does not have: → what stands for it here.
STAND_INS = {
    "hf:openai/clip-vit-base-patch32": "clip", "hf:facebook/dinov2-base": "dinov2", "cn_clip:ViT-B-16": "clip",
    "stabilityai/sd-turbo": "sd",
}  # fmt: skip


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_examples(demo: Path, block: str) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=demo.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_opening_a_gallery_imports_neither_torch_nor_faiss() -> None:
    check = "import sys, diantu.search; print({'torch', 'faiss', 'transformers', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory, demo: Path, clip_folder: Path, dinov2_folder: Path, tiny_sd: Path
) -> tuple[Path, dict[str, str]]:
    """A folder with what the commands take, and the models that stand for those of the hub."""
    root = tmp_path_factory.mktemp("readme")
    names = [f"{stem}.jpg" for stem in ("animal_cat", "animal_panda", "tool_hammer1", "landmark_petra", "animal_owl")]
    (root / "photos").mkdir()
    for name in names:
        shutil.copy(photos.FOLDER / name, root / "photos")
        (root / "photos" / name).with_suffix(".json").write_text('{"punsafe": 0.01}')
    shutil.copy(photos.FOLDER / "animal_cat.jpg", root / "sketch.jpg")
    shutil.copytree(demo / "shards", root / "shards")
    peer = root / "clip_retrieval_output"
    (peer / "img_emb").mkdir(parents=True)
    (peer / "metadata").mkdir()
    np.save(peer / "img_emb" / "img_emb_0.npy", np.eye(3, 32, dtype=np.float16))
    keys = pa.table({"image_path": ["a", "b", "c"], "caption": ["x", "y", "z"]})
    pq.write_table(keys, peer / "metadata" / "metadata_0.parquet")
    (root / "prompts.txt").write_text("大熊猫\nan old hammer\n", encoding="utf-8")
    (root / "copy.txt").write_text("周末，去看大熊猫\n", encoding="utf-8")
    return root, {"clip": f"hf:{clip_folder}", "dinov2": f"hf:{dinov2_folder}", "sd": str(tiny_sd)}


def _prepared(command: str, number: int, models: dict[str, str]) -> list[str]:
    """A command with small models, the two shards that there are, and a gallery of its own where it makes one."""
    command = command.replace("{00000..00099}", "{00000..00001}")
    for name, stand_in in STAND_INS.items():
        command = command.replace(name, models[stand_in])
    words = shlex.split(command)[1:]
    if words[0] in ("embed", "import"):
        words[words.index("--output") + 1] += f"-{number}"
    return words


def test_commands_run_in_their_order(
    folder: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root, models = folder
    monkeypatch.chdir(root)
    run = []
    for number, command in enumerate(COMMANDS):
        if command.startswith("diantu download"):  # it needs the web: tests/scripts/test_download.py has one
            continue
        words = _prepared(command, number, models)
        if "--gallery" in words:
            words[words.index("--gallery") + 1] = "gallery-0"  # that of the folder
        monkeypatch.setattr(sys, "stdin", io.StringIO("a cat\n@sketch.jpg\n"))  # for the one that asks for lines
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0, (command, capfd.readouterr().err)
        run.append(words[0])
    assert set(run) >= {"embed", "index", "search", "status", "import", "generate"}
