"""What the README shows is run as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_examples(demo: Path, block: str) -> None:
    done = subprocess.run([sys.executable, "-c", block], cwd=demo.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_opening_a_gallery_imports_neither_torch_nor_faiss() -> None:
    check = "import sys, diantu.search; print({'torch', 'faiss', 'transformers', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_commands_shown_exist() -> None:
    shown = set(re.findall(r"^    diantu (\w+)", README, re.MULTILINE))
    assert shown == {"embed", "index", "search", "status", "download", "import"}
    for command in shown:
        options = set(re.findall(rf"^    diantu {command} .*?$", README, re.MULTILINE))
        used = {option for line in options for option in re.findall(r"--[a-z-]+", line)}
        help_text = subprocess.run(
            [sys.executable, "-m", "diantu.scripts.main", command, "--help"], capture_output=True, text=True, check=True
        ).stdout
        assert all(option in help_text for option in used)
