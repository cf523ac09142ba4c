"""A reference that cannot be read or used costs its picture, never the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boxes import save_font
from pictures import encoded, huge_png, jpeg, picture
from PIL import Image
from tinting import Tint

from diantu.generation import GenerationRequest, ModelOptions, generate, load_strategies

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
