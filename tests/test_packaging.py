from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_tree(tmp_path: Path) -> None:
    """`pyproject.toml` lists the packages by hand; this keeps the list complete."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(REPOSITORY)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.split()
    rooms = ("datasets/", "indexing/", "search/", "generation/", "configs/", "scripts/")
    expected = {f"diantu/{name}" for name in tracked if name.startswith(rooms)}
    assert packed == expected


def test_hugging_face_datasets_and_ours_live_side_by_side() -> None:
    import datasets as theirs
    from diantu import datasets as ours

    assert theirs.__version__ == version("datasets")
    assert theirs.Dataset.from_dict({"a": [1, 2]}).num_rows == 2
    assert callable(ours.find_shards)
    assert Path(theirs.__file__).parent != Path(ours.__file__).parent
