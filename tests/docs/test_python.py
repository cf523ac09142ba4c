"""The Python examples of the READMEs and of docs/en run as they are printed, beside the folder of `diantu demo`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import EXTENDING, PAGES, Block, blocks
from pictures import write_tar

from diantu.datasets import photos

# Code that several pages show runs once, with the first of them, also where the comments are in another language.
_SHOWN = [block for page in PAGES if page != EXTENDING for block in blocks(page) if block.language == "python"]
EXAMPLES = list({ast.dump(ast.parse(block.code)): block for block in reversed(_SHOWN)}.values())[::-1]


@pytest.fixture(scope="module")
def folder(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with that of the demo in it, whose shards have few images for examples that embed them."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "diantu-demo").mkdir()
    for path in demo.iterdir():
        if path.name != "shards":
            (folder / "diantu-demo" / path.name).symlink_to(path)
    members = [(path.name, path.read_bytes()) for path in sorted(photos.FOLDER.glob("animal_*.jpg"))[:6]]
    write_tar(folder / "diantu-demo" / "shards" / "00000.tar", members)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda block: block.id)
def test_examples_run_and_print(
    folder: Path, example: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    exec(compile(example.code, example.id, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


def test_pages_with_an_api_have_an_example() -> None:
    assert {example.id.partition("-")[0] for example in EXAMPLES} >= {"README", "search", "generation", "jobs"}


def test_opening_a_gallery_imports_neither_torch_nor_faiss() -> None:
    check = "import sys, diantu.search; print({'torch', 'faiss', 'transformers', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
