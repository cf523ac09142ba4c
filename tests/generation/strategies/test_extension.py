"""Strategies of other packages, installed as a folder with a dist-info beside the module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from diantu.datasets import InputError, photos, plugins
from diantu.generation import load_strategies
from diantu.generation.strategies.registry import strategy_class

MODULE = '''
from dataclasses import dataclass

from PIL import ImageOps

from diantu.generation import BaseStrategy, Draft, Made, check_number


@dataclass(frozen=True, slots=True, kw_only=True)
class PosterizeSettings:
    """Settings of posterize.

    Attributes:
        bits: per channel that are kept.
    """

    bits: int = 3

    def __post_init__(self) -> None:
        check_number("posterize.bits", self.bits, 1, 8, whole=True)


class Posterize(BaseStrategy[PosterizeSettings]):
    """Reduces the colours of the reference."""

    name = "posterize"
    settings_type = PosterizeSettings
    packages = ("pillow",)

    def make_one(self, draft: Draft, settings: PosterizeSettings) -> Made:
        image = ImageOps.posterize(draft.references[0], settings.bits)
        return Made(image=image, facts={"bits": settings.bits})
'''


def install(folder: Path, *points: str, package: str = "posters", module: str = MODULE) -> Path:
    """Writes a package with entry points, as an installer leaves it; returns the folder for PYTHONPATH."""
    folder.mkdir(exist_ok=True)
    (folder / f"{package}.py").write_text(module)
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[diantu.strategies]\n" + "\n".join(points) + "\n")
    return folder


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env=os.environ | {"PYTHONPATH": str(folder)}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip


def _forget() -> None:
    """What the process remembers of installed packages."""
    plugins.declared.cache_clear()
    strategy_class.cache_clear()
    for package in ("posters", "others"):
        sys.modules.pop(package, None)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path, str], str]]:
    """Loads a strategy with the packages of a folder; returns its description, or the message of the error."""

    def loaded(folder: Path, name: str) -> str:
        monkeypatch.syspath_prepend(folder)
        _forget()
        try:
            return json.dumps(load_strategies([name]).describe())
        except InputError as error:
            return str(error)

    yield loaded
    _forget()


def test_a_strategy_of_another_package_makes_pictures(tmp_path: Path) -> None:
    folder = install(tmp_path / "packages", "posterize = posters:Posterize")
    file = str(photos.FOLDER / "animal_panda.jpg")
    asked = [
        {"files": file},
        {"files": file, "settings": {"posterize": {"bits": 1}}, "name": "own"},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, asked)))
    command = ["-m", "diantu.scripts.main", "generate", "--prompts", str(tmp_path / "a.jsonl")]
    command += ["--output", str(tmp_path / "run"), "--strategy", "posterize", "--set", "posterize.bits=2"]
    done = python(folder, *command)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/manifest.jsonl").read_text().splitlines()]
    assert [row["facts"] for row in rows] == [{"bits": 2}, {"bits": 1}]
    assert rows[0]["strategy"]["settings"] == {"bits": 2}
    assert rows[0]["strategy"]["versions"].keys() == {"pillow"}

    refused = python(folder, *command[:-1], "posterize.bits=9")
    assert refused.returncode == 2
    assert "posterize.bits is 9; give a whole number from 1 to 8" in refused.stderr
    refused = python(folder, *command[:-1], "posterize.bit=2")
    assert "'posterize' has no setting 'bit'; it has: bits" in refused.stderr


def test_unknown_names_list_installed_strategies_and_import_none(
    tmp_path: Path, load: Callable[[Path, str], str]
) -> None:
    folder = install(tmp_path / "packages", "posterize = posters:Posterize", module="raise SystemExit('imported')")
    assert load(folder, "magic").endswith("inpaint, edit, stylize, overlay, posterize")


def test_importing_generation_imports_no_strategy_and_no_entry_point(tmp_path: Path) -> None:
    folder = install(tmp_path / "packages", "posterize = posters:Posterize")
    check = (
        "import sys, diantu.generation\n"
        "print([name for name in sys.modules if name in ('posters', 'torch', 'diffusers') or 'stylize' in name])"
    )
    assert python(folder, "-c", check).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("point", "name", "says"),
    [
        (
            "posterize = posters:Absent",
            "posterize",
            "(posters:Absent) of the package posters cannot be imported (Attribute",
        ),
        ("posterize = absent:Posterize", "posterize", "cannot be imported (ModuleNotFoundError: No module named 'abs"),
        ("posterize = posters:MODULE_LEVEL", "posterize", "is a int, not a class; see BaseStrategy"),
        ("posterize = posters:PosterizeSettings", "posterize", "has the name None, not 'posterize': set its attribute"),
        ("other = posters:Posterize", "other", "has the name 'posterize', not 'other'"),
        ("posterize = posters:Bare", "posterize", "has the settings_type None, which is not a dataclass"),
        ("posterize = posters:Unable", "posterize", "has no method 'describe'"),
        ("a.b = posters:Posterize", "a.b", "has a . or + in its name"),
        (
            "stylize = posters:Posterize",
            "stylize",
            "strategy 'stylize' is built in, and the package posters declares it too",
        ),
    ],
)
def test_entry_points_that_cannot_be_used(
    tmp_path: Path, load: Callable[[Path, str], str], point: str, name: str, says: str
) -> None:
    more = "\n\nMODULE_LEVEL = 3\n\n\nclass Bare:\n    name = 'posterize'\n"
    more += "\n\nclass Unable(Bare):\n    settings_type = PosterizeSettings\n"
    message = load(install(tmp_path / "packages", point, module=MODULE + more), name)
    assert says in message
    assert "\n" not in message


def test_two_packages_with_the_same_strategy(tmp_path: Path, load: Callable[[Path, str], str]) -> None:
    folder = install(tmp_path / "packages", "posterize = posters:Posterize")
    install(folder, "posterize = others:Posterize", package="others")
    message = load(folder, "posterize")
    assert "strategy 'posterize' is declared by the package" in message
    assert {"posters", "others"} <= set(message.replace(";", " ").split())
    assert json.loads(load(folder, "overlay"))["strategy"] == "overlay"  # other names are not affected
