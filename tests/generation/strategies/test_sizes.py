"""The sizes that models work at, and images that are fitted to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture
from PIL import Image

from diantu.generation.strategies.sizes import Canvas, fit, flatten, plan_canvas, restore

sides = st.integers(1, 5000)


@given(width=sides, height=sides, pixels=st.integers(64 * 64, 2048 * 2048), multiple=st.sampled_from([8, 16, 32]))
def test_the_model_works_at_multiples_within_the_budget(width: int, height: int, pixels: int, multiple: int) -> None:
    canvas = plan_canvas((width, height), width=None, height=None, pixels=pixels, multiple=multiple)
    worked = canvas.worked
    assert worked[0] % multiple == worked[1] % multiple == 0 < min(worked)
    assert worked[0] * worked[1] <= pixels
    assert canvas.result == worked
    if min(worked) > multiple:  # the shape of the reference, as near to the budget as multiples allow
        assert (worked[0] + multiple) * (worked[1] + multiple) > pixels
        assert worked[0] / (worked[1] + multiple) < width / height < (worked[0] + multiple) / worked[1]


@pytest.mark.parametrize(
    ("reference", "asked", "pixels", "worked", "result"),
    [
        ((640, 480), (None, None), 512 * 512, (584, 440), (584, 440)),
        ((2000, 2000), (None, None), 512 * 512, (512, 512), (512, 512)),
        ((256, 256), (None, None), 512 * 512, (512, 512), (512, 512)),  # the model works at full size for thumbnails
        ((640, 480), (768, 512), 768 * 512, (768, 512), (768, 512)),
        ((640, 480), (64, 392), 64 * 392, (64, 392), (64, 392)),  # with a square root of 391.99…
        ((640, 480), (517, 389), 512 * 512, (584, 440), (517, 389)),
        ((640, 480), (320, None), 512 * 512, (584, 440), (320, 240)),
        ((640, 480), (None, 120), 512 * 512, (584, 440), (160, 120)),
        ((60_000, 1), (None, 64), 512 * 512, (32_768, 8), (2048, 64)),  # not a picture of 4 million × 64
        ((1, 60_000), (1000, None), 512 * 512, (8, 32_768), (1000, 16_384)),
        (None, (None, None), 512 * 512, (512, 512), (512, 512)),
        (None, (600, None), 512 * 512, (512, 512), (600, 600)),
    ],
)
def test_sizes_for_given_width_and_height(reference, asked, pixels, worked, result) -> None:
    canvas = plan_canvas(reference, width=asked[0], height=asked[1], pixels=pixels, multiple=8)
    assert canvas == Canvas(worked, result)


def test_crop_keeps_the_centre_and_pad_keeps_all() -> None:
    image = Image.new("RGB", (300, 100), "red")
    image.paste("blue", (100, 0, 200, 100))
    canvas = Canvas((64, 64), (64, 64))
    cropped, padded = (np.asarray(fit(image, canvas, how)).astype(int) for how in ("crop", "pad"))
    assert cropped.shape == padded.shape == (64, 64, 3)
    assert (cropped[:, 4:-4] == [0, 0, 255]).all()  # the central square
    assert (padded[:, :18] == [255, 0, 0]).all()
    assert (padded[:, 24:40] == [0, 0, 255]).all()
    assert (padded[0] == padded[-1]).all()  # edges are repeated


@pytest.mark.parametrize("how", ["crop", "pad"])
def test_restore_undoes_the_stretch_of_multiples(how: str) -> None:
    """For 90 × 50 the model works at 72 × 40, a slightly different shape; after restore, all is in its old place."""
    image = picture(3, (90, 50))
    canvas = plan_canvas((90, 50), width=90, height=50, pixels=64 * 64, multiple=16)
    assert canvas.worked[0] * 50 != canvas.worked[1] * 90
    restored = restore(fit(image, canvas, how), canvas.result)
    assert restored.size == (90, 50)
    assert np.abs(np.asarray(restored).astype(int) - np.asarray(image)).mean() < 2


def test_transparent_parts_become_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (0, 0, 4, 8))
    assert sorted(flatten(image).getcolors() or []) == [(32, (0, 0, 255)), (32, (255, 255, 255))]
    assert flatten(Image.new("L", (2, 2), 7)).getpixel((0, 0)) == (7, 7, 7)


@pytest.mark.parametrize("size", [(100, 107), (101, 443), (448, 298)])
def test_the_crop_box_is_inside_the_image(size: tuple[int, int]) -> None:
    """Rounding puts the edge of the kept part at −1e−14 for the first two, which Pillow refuses."""
    canvas = plan_canvas(size, width=None, height=None, pixels=64 * 64, multiple=8)
    assert fit(Image.new("RGB", size), canvas, "crop").size == canvas.worked
