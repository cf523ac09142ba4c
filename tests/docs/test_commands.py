"""The command lines of the READMEs and of docs/en run as they are printed, with small models for those of the hub."""

from __future__ import annotations

import io
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from documentation import EXTENDING, PAGES, REPOSITORY, commands

from diantu.datasets import photos
from diantu.scripts.main import main

# A line that several pages show runs once, with the first of them. The lines of extending.md have a test of their own.
PAGE_OF = {line: page.stem for page in reversed(PAGES) if page != EXTENDING for line in reversed(commands(page))}
DIANTU = [line for line in PAGE_OF if line.startswith("diantu ")]
BENCHMARKS = [line for line in PAGE_OF if line.startswith("python -m diantu.scripts.bench_")]
# Names of models in the pages → the model that takes their place on a machine without a hub.
STAND_INS = {
    "hf:openai/clip-vit-base-patch32": "clip", "hf:/models/clip-vit-base-patch32": "clip", "cn_clip:ViT-B-16": "clip",
    "hf:facebook/dinov2-base": "dinov2", "stabilityai/sd-turbo": "sd", "hf:/new/place/clip-vit-base-patch32": "conse",
}  # fmt: skip
# Commands that need the web, or run until they are stopped; they have tests of their own.
ELSEWHERE = ("diantu download", "diantu serve", "diantu page")
# Commands that write a new folder. Each page gets its own, so that no line depends on another page.
MAKERS = ("embed", "import", "compact", "generate")


@pytest.fixture(scope="module")
def models(clip_folder: Path, dinov2_folder: Path, tiny_sd: Path) -> dict[str, str]:
    return {"clip": f"hf:{clip_folder}", "dinov2": f"hf:{dinov2_folder}", "sd": str(tiny_sd), "conse": "conse"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, demo: Path, models: dict[str, str]) -> Path:
    """A folder with the files that the commands name, and a gallery with two spaces, an index and duplicates."""
    root = tmp_path_factory.mktemp("pages")
    (root / "photos").mkdir()
    for stem in ("animal_cat", "animal_panda", "tool_hammer1", "landmark_petra", "animal_owl"):
        shutil.copy(photos.FOLDER / f"{stem}.jpg", root / "photos")
        (root / "photos" / f"{stem}.json").write_text('{"punsafe": 0.01}')
        (root / "photos" / f"{stem}.txt").write_text(stem.partition("_")[2])
    shutil.copy(photos.FOLDER / "animal_cat.jpg", root / "sketch.jpg")
    shutil.copytree(demo / "shards", root / "shards")
    (root / "configs").symlink_to(REPOSITORY / "configs")
    peer = root / "clip_retrieval_output"
    (peer / "img_emb").mkdir(parents=True)
    (peer / "metadata").mkdir()
    np.save(peer / "img_emb" / "img_emb_0.npy", np.eye(3, 32, dtype=np.float16))
    keys = pa.table({"image_path": ["a", "b", "c"], "caption": ["x", "y", "z"]})
    pq.write_table(keys, peer / "metadata" / "metadata_0.parquet")
    (root / "prompts.txt").write_text("大熊猫\nan old hammer\n", encoding="utf-8")
    (root / "copy.txt").write_text("周末，去看大熊猫\n", encoding="utf-8")
    (root / "queries.txt").write_text("a cat\n大熊猫\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        for line in (
            f"embed --source photos/ --output gallery --texts captions --encoder conse {models['dinov2']}",
            "index --gallery gallery",
            "dedup --gallery gallery",
        ):
            assert _exit_code(line.split()) == 0
    return root


def _exit_code(words: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _prepared(line: str, number: int, models: dict[str, str]) -> list[str]:
    """The words of a command, with small models, the two shards that exist, and an output of its own."""
    line = line.replace("{00000..00099}", "{00000..00001}")
    for name, stand_in in STAND_INS.items():
        line = line.replace(name, models[stand_in])
    words = shlex.split(line)[1:]
    if words[0] in MAKERS:
        words[words.index("--output") + 1] += f"-{number}"
    return words


@pytest.mark.slow
@pytest.mark.parametrize("page", dict.fromkeys(PAGE_OF[line] for line in DIANTU))
def test_commands_end_well(
    root: Path,
    models: dict[str, str],
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))  # what bench-encoder measures counts for this page only
    for number, line in enumerate(DIANTU):
        if PAGE_OF[line] != page or line.startswith(ELSEWHERE):
            continue
        monkeypatch.setattr(sys, "stdin", io.StringIO("a cat\n@sketch.jpg\n"))  # for the search without a query
        assert _exit_code(_prepared(line, number, models)) == 0, (line, capfd.readouterr().err)


def test_every_command_is_shown() -> None:
    shown = {line.split()[1] for line in DIANTU} | {"demo"}
    documented = set(re.findall(r"^\| `diantu ([\w-]+)`", (REPOSITORY / "docs/en/index.md").read_text("utf-8"), re.M))
    from diantu.scripts.main import COMMANDS

    assert documented == shown == set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize("line", BENCHMARKS)
def test_benchmarks_have_the_options_that_are_shown(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = line.split()[2]
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    assert ended.value.code == 0
    assert set(re.findall(r"--[a-z-]+", line)) <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
