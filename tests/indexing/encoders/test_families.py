"""Encoder families: the built-in ones, and those that other packages register as entry points."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diantu.datasets import InputError, plugins
from diantu.indexing.encoders import load_encoder
from diantu.indexing.encoders.entry_points import family_of

HISTOGRAM = Path(__file__).parents[2] / "histogram.py"


def install(folder: Path, package: str, entry_points: str, module: str = "") -> Path:
    """An installed package: its module, and the metadata that pip would write."""
    metadata = folder / f"{package}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[diantu.encoders]\n{entry_points}\n")
    (folder / f"{package}.py").write_text(module)
    return folder


@pytest.fixture(autouse=True)
def _forget_entry_points() -> Iterator[None]:
    yield
    plugins.declared.cache_clear()
    family_of.cache_clear()


def test_names_are_resolved_without_heavy_imports() -> None:
    script = (
        "import sys\n"
        "from diantu.indexing.encoders import load_encoder\n"
        "try: load_encoder('clip')\n"
        "except ValueError as error: print(error)\n"
        "print({'torch', 'transformers', 'timm', 'open_clip', 'cn_clip'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    message, imported = done.stdout.splitlines()
    assert message.startswith("encoder 'clip' is not known; give one of: conse; cn_clip:<ViT-B-16, ")
    assert "; hf:<" in message
    assert "; open_clip:<" in message
    assert imported == "set()"


@pytest.mark.parametrize("name", ["", "conse:", "conse:x", "hf", "hf:", ":x"])
def test_names_that_fit_no_family_are_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"encoder '{name}' is not known; give one of: conse; cn_clip:<"):
        load_encoder(name)


def test_a_family_of_another_package_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = HISTOGRAM.read_text().replace('name="histogram"', 'name="painted"')
    monkeypatch.syspath_prepend(install(tmp_path, "painted_package", "painted = painted_package:FAMILY", module))
    assert load_encoder("painted").spec.name == "painted"
    with pytest.raises(InputError, match=r"'clip' is not known; .*; painted \(of the package painted_package\)"):
        load_encoder("clip")
    with pytest.raises(InputError, match="'painted:x' is not known"):
        load_encoder("painted:x")


@pytest.mark.parametrize(
    ("entry_points", "module", "message"),
    [
        ("hf = broken:FAMILY", "1 / 0", "encoder 'toy' is not known; .* hf:<"),  # others are not looked at
        (
            "toy = broken:FAMILY",
            "import no_such_module",
            "'toy' \\(broken:FAMILY\\) of the package broken cannot be imported .*no_such_mod",
        ),
        (
            "toy = broken:FAMILY",
            "1 +",
            r"'toy' \(broken:FAMILY\) of the package broken cannot be imported \(SyntaxError",
        ),
        (
            "toy = broken:FAMILY",
            "",
            r"'toy' \(broken:FAMILY\) of the package broken cannot be imported \(AttributeError",
        ),
        ("toy = broken:FAMILY", "FAMILY = 3", "of the package broken is of type int; it must be an EncoderFamily"),
        (
            "toy = broken:FAMILY",
            "from diantu.indexing.encoders import EncoderFamily\n"
            "FAMILY = EncoderFamily(name='other', requirement='x', load=print)",
            "has the name 'other'; it must be 'toy', as the entry point says",
        ),
        (
            "toy = broken:FAMILY",
            "from diantu.indexing.encoders import EncoderFamily\n"
            "FAMILY = EncoderFamily(name='toy', packages=('no_such_module',), requirement='toys[all]', load=print)",
            r"encoder 'toy' needs no_such_module, which is not installed; run: pip install \"toys\[all\]\"",
        ),
    ],
)
def test_a_package_that_registers_wrongly_is_refused(
    entry_points: str, module: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "broken", raising=False)
    monkeypatch.syspath_prepend(install(tmp_path, "broken", entry_points, module))
    with pytest.raises(InputError, match=message):
        load_encoder("toy")


def test_two_packages_cannot_register_the_same_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("one", "two"):
        monkeypatch.syspath_prepend(install(tmp_path / package, package, f"toy = {package}:FAMILY"))
    with pytest.raises(InputError, match="'toy' is declared by the package one and the package two; uninstall"):
        load_encoder("toy")
