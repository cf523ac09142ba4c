"""A reference that cannot be read or used costs its picture, never the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boxes import save_font
from drafts import load
from histogram import Histogram
from pictures import encoded, huge_png, jpeg, picture
from PIL import Image
from tinting import Tint

from diantu.generation import GenerationRequest, ModelOptions, RunOptions, generate, load_strategies
from diantu.indexing import add_images
from diantu.search import Gallery

READABLE = {
    "strip.png": encoded(picture(size=(2000, 20)), "PNG"),
    "column.png": encoded(picture(size=(20, 2000)), "PNG"),
    "dot.png": encoded(picture(size=(1, 1)), "PNG"),
    "line.png": encoded(picture(size=(3000, 1)), "PNG"),
    "glass.png": encoded(Image.new("RGBA", (60, 40)), "PNG"),
    "deep.png": encoded(Image.fromarray(np.full((40, 60), 40_000, np.uint16)), "PNG"),
    "moving.gif": encoded(picture(1), "GIF", save_all=True, append_images=[picture(2)]),
}
UNREADABLE = {
    "huge.png": huge_png(30_000, 3_000),
    "text.jpg": b"this is text",
    "half.jpg": jpeg()[:200],
    "no.png": None,
}


@pytest.mark.parametrize("strategy", ["tint", "overlay"])
def test_a_bad_reference_costs_its_picture_only(strategy: str, tmp_path: Path) -> None:
    files = {"plain.jpg": jpeg(size=(400, 300)), **READABLE, **UNREADABLE}
    for name, data in files.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
    font = save_font(tmp_path / "box.ttf", "Sale", family="Boxes")
    settings = {"overlay": {"font": str(font), "size": 256}}
    makes = Tint() if strategy == "tint" else load_strategies(["overlay"], settings, ModelOptions())
    asked = [GenerationRequest(prompt="x", headline="Sale", files=[str(tmp_path / name)]) for name in files]
    results = dict(zip(files, generate(asked, tmp_path / "run", makes), strict=True))
    assert results["plain.jpg"].status == "done"
    assert all(results[name].status == "failed" and results[name].reason for name in UNREADABLE)
    for name in READABLE:
        assert results[name].status == "done" or results[name].reason, name
        assert "Error" not in results[name].reason, "nothing may be unforeseen"
    if strategy == "tint":
        assert all(results[name].status == "done" for name in READABLE)


def test_a_search_takes_the_next_image_if_a_strategy_cannot_use_the_best(shop: Path, tmp_path: Path) -> None:
    """Images of 48 px are too wide for this strategy; those of 36 px are the rows 0, 3 and 6."""
    images = [(path.stem, path, None) for path in sorted(shop.iterdir())]
    add_images(tmp_path / "gallery", images, Histogram())
    gallery = Gallery.open(tmp_path / "gallery", encoder=Histogram())
    asked = [GenerationRequest(prompt="red", k=1, num_pictures=3)]
    results = generate(asked, tmp_path / "run", Tint(too_wide=40), gallery=gallery, options=RunOptions(rotate=1))
    assert {result.references[0].key for result in results} == {"0", "3", "6"}
    given = generate([GenerationRequest(rows=[1])], tmp_path / "given", Tint(too_wide=40), gallery=gallery)
    assert (given[0].status, given[0].reason) == ("failed", "1 has 48 px of width; give less than 40")


def test_a_bad_mask_costs_its_picture_only(tiny_inpaint: Path, tmp_path: Path) -> None:
    masks = {
        "white.png": encoded(Image.new("L", (64, 64), 255), "PNG"),
        "small.png": encoded(Image.new("L", (8, 8), 255), "PNG"),
        "black.png": encoded(Image.new("L", (64, 64)), "PNG"),
        "text.png": b"this is text",
        "no.png": None,
    }
    (tmp_path / "image.jpg").write_bytes(jpeg(size=(64, 64)))
    for name, data in masks.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
    asked = [
        GenerationRequest(prompt="x", files=[str(tmp_path / "image.jpg")], mask=str(tmp_path / name)) for name in masks
    ]
    results = generate(asked, tmp_path / "run", load("inpaint", tiny_inpaint))
    assert [result.status for result in results] == ["done", *["failed"] * 4]
    expected = ("", "give a mask of the same size", "completely black", "cannot be read (", "cannot be read (")
    assert all(words in result.reason for words, result in zip(expected, results, strict=True))
