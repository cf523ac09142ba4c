"""The package that extending.md shows is written, gets its metadata from setuptools, and is used as the page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from documentation import EXTENDING, blocks
from pictures import write_tar

from diantu.datasets import photos

# Runs the command lines and examples of the page, which are its arguments, in one process that sees the package.
_DRIVER = """
import sys
from diantu.scripts.main import main

if __name__ == "__main__":
    for path in sys.argv[1:]:
        code = open(path, encoding="utf-8").read()
        if path.endswith(".py"):
            exec(compile(code, path, "exec"), {"__name__": "__main__"})
            continue
        try:
            main(code.split()[1:])
        except SystemExit as ended:
            assert ended.code == 0, code
"""


@pytest.mark.slow
def test_the_package_works_as_shown(tmp_path: Path) -> None:
    package, work = tmp_path / "extras", tmp_path / "work"
    package.mkdir()
    shown = blocks(EXTENDING)
    for block in shown:
        if block.title:
            (package / block.title).write_text(block.code, encoding="utf-8")
    metadata = "import setuptools.build_meta as backend; backend.prepare_metadata_for_build_wheel('.')"
    subprocess.run([sys.executable, "-c", metadata], cwd=package, check=True, capture_output=True)
    _write_inputs(work)
    steps = []
    for number, block in enumerate(shown):
        codes = block.code.splitlines() if block.language == "sh" else [block.code]
        if block.title or block.language not in ("sh", "python"):
            continue
        for line, code in enumerate(codes):
            step = tmp_path / f"{number}-{line}{'' if block.language == 'sh' else '.py'}"
            step.write_text(code, encoding="utf-8")
            steps.append(str(step))
    driver = tmp_path / "driver.py"
    driver.write_text(_DRIVER)
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, str(driver), *steps], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "duotone = duotone:Duotone" in done.stdout
    assert len(list((work / "two-tone" / "pictures").glob("*.png"))) == 2
    assert (work / "from-npz" / "parts" / "00000.json").exists()
    assert (work / "by-pool" / "gallery.json").exists()


def _write_inputs(work: Path) -> None:
    """The folder that the page's commands run in: photos, shards, an .npz archive, prompts and copy."""
    (work / "photos").mkdir(parents=True)
    (work / "archives").mkdir()
    for stem in ("animal_cat", "animal_panda", "landmark_petra"):
        shutil.copy(photos.FOLDER / f"{stem}.jpg", work / "photos")
    images = {path.stem: np.fromfile(path, np.uint8) for path in (work / "photos").iterdir()}
    np.savez(work / "archives" / "some.npz", **images)
    for stem, image in images.items():
        write_tar(work / "shards" / f"{stem}.tar", [(f"{stem}.jpg", image.tobytes())])
    (work / "prompts.txt").write_text("orange\nwhite\n")
    (work / "copy.txt").write_text("周末，去看大熊猫\n", encoding="utf-8")
