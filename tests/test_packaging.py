from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("datasets", "indexing", "search", "generation", "configs", "scripts")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files of the packages that git knows."""
    command = ["git", "ls-files", "-z", *ROOMS]
    listed = subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, text=True, timeout=60).stdout
    return [name for name in listed.split("\0") if name]


def test_every_room_is_marked_as_typed(tracked: list[str]) -> None:
    """Without `py.typed` type checkers ignore the annotations of an installed package (PEP 561)."""
    assert {f"{room}/py.typed" for room in ROOMS} <= set(tracked)


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_the_tree(tmp_path: Path, tracked: list[str]) -> None:
    """`pyproject.toml` lists packages and data by hand; this keeps both lists complete."""
    copy = tmp_path / "copy"  # so that no earlier build/ of the checkout adds files to the wheel
    for name in ("pyproject.toml", "README.md", "LICENSE", *tracked):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, copy / name)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(copy)]
    done = subprocess.run(build, check=False, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert packed == {f"diantu/{name}" for name in tracked}


def test_hugging_face_datasets_and_ours_can_both_be_imported() -> None:
    import datasets as theirs
    from diantu import datasets as ours

    assert theirs.__version__ == version("datasets")
    assert theirs.Dataset.from_dict({"a": [1, 2]}).num_rows == 2
    assert callable(ours.find_shards)
    assert Path(theirs.__file__).parent != Path(ours.__file__).parent
