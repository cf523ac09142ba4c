"""The Python examples of the READMEs and of docs/en run as they are printed, beside the folder of `diantu demo`."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from documentation import EXTENDING, PAGES, Block, blocks

# Code that several pages show runs once, with the first of them, also where the comments are in another language.
_SHOWN = [block for page in PAGES if page != EXTENDING for block in blocks(page) if block.language == "python"]
EXAMPLES = list({ast.dump(ast.parse(block.code)): block for block in reversed(_SHOWN)}.values())[::-1]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda block: block.id)
def test_examples_run_and_print(
    demo: Path, example: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(demo.parent)
    exec(compile(example.code, example.id, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


def test_pages_with_an_api_have_an_example() -> None:
    assert {example.id.partition("-")[0] for example in EXAMPLES} >= {"README", "search", "generation", "jobs"}


def test_opening_a_gallery_imports_neither_torch_nor_faiss() -> None:
    check = "import sys, diantu.search; print({'torch', 'faiss', 'transformers', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
