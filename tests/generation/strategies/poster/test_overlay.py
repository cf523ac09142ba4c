"""Copy on images: inside the margins, readable, away from the subject."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boxes import save_font
from PIL import Image, ImageColor

from diantu.datasets import InputError
from diantu.generation.strategies import Draft, Made, ModelOptions, load_strategies
from diantu.generation.strategies.poster.contrast import contrast_ratio, relative_luminance
from diantu.generation.strategies.poster.overlay import Overlay, OverlaySettings
from diantu.generation.strategies.poster.placement import ANCHORS

CHARS = "周末去看大熊猫动物园夜间开放每日，。：！" + "".join(map(chr, range(0x21, 0x7F)))
ZH = ("周末去看大熊猫", "动物园夜间开放，每日 18:00")
EN = ("A hammer that lasts a lifetime", "Forged from a single piece of steel.")
SIZES = [(400, 260), (260, 400), (320, 320), (640, 180)]


@pytest.fixture(scope="module")
def font(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_font(tmp_path_factory.mktemp("fonts") / "box.ttf", CHARS, family="Boxes"))


def plain(color: Any, size: tuple[int, int] = (400, 260)) -> Image.Image:
    return Image.new("RGB", size, color)


def noise(size: tuple[int, int], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def draft(picture: Image.Image, lines: tuple[str, ...], **settings: Any) -> Draft:
    return Draft(name="0001-1", prompt="", seed=0, references=(picture,), lines=lines, settings={"overlay": settings})


def made(picture: Image.Image, lines: tuple[str, ...] = ZH, **settings: Any) -> Made:
    overlay = Overlay(OverlaySettings(size=64))  # images keep their size
    given = draft(picture, lines, **settings)
    overlay.check(given)
    (done,) = overlay.make([given])
    return done


def image_of(done: Made) -> Image.Image:
    assert done.image is not None, done.problem
    return done.image


def ink(done: Made) -> np.ndarray:
    """Returns where the text is, `bool_HW`, by its colour."""
    color = np.array([int(done.facts["color"][i : i + 2], 16) for i in (1, 3, 5)])
    return (np.asarray(image_of(done)) == color).all(2)


def extent(mask_HW: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


@pytest.mark.parametrize("lines", [ZH, EN, ("PLAY BALL",), (2 * ZH[0], 3 * ZH[1])], ids=["zh", "en", "caps", "long"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("position", sorted(ANCHORS))
def test_text_stays_in_the_safe_area(font: str, position: str, size: tuple[int, int], lines: tuple[str, ...]) -> None:
    done = made(plain((40, 90, 120), size), lines, position=position, font=font, margin=0.1)
    left, top, right, bottom = extent(ink(done))
    margin = 0.1 * min(size)
    assert left >= margin - 1
    assert top >= margin - 1
    assert right <= size[0] - margin + 1
    assert bottom <= size[1] - margin + 1
    assert bottom - top <= ANCHORS[position].height * (size[1] - 2 * margin) + 1
    assert image_of(done).size == size


@pytest.mark.parametrize(
    "picture",
    [
        plain("white"), plain("black"), plain((119, 119, 119)), plain((0, 140, 230)), plain((250, 220, 60)),
        Image.fromarray(noise((400, 260))), Image.linear_gradient("L").resize((400, 260)).convert("RGB"),
    ],
    ids=["white", "black", "grey", "blue", "yellow", "noise", "gradient"],
)  # fmt: skip
@pytest.mark.parametrize("position", ["top-left", "center", "bottom"])
def test_text_is_readable_on_any_background(font: str, picture: Image.Image, position: str) -> None:
    """Measures the contrast between the text and the pixels around it in the result."""
    done = made(picture, position=position, font=font)
    left, top, right, bottom = done.facts["box"]
    cut = np.asarray(image_of(done)).astype(float)[top:bottom, left:right]
    text = ink(done)[top:bottom, left:right]
    # Pixels at the edge of a glyph are mixed.
    near = text.copy()
    for axis in (0, 1):
        near |= np.roll(near, 1, axis) | np.roll(near, -1, axis)
    color = cut[text][0]
    ratios = contrast_ratio(relative_luminance(cut[~near]), relative_luminance(color))
    assert np.quantile(ratios, 0.05) >= 4.4
    assert done.facts["contrast"] >= 4.49


def test_a_calm_image_needs_no_scrim(font: str) -> None:
    done = made(plain("black"), font=font)
    assert done.facts["scrim"] == 0
    assert done.facts["color"] == "#ffffff"
    left, top, right, bottom = done.facts["box"]
    outside = np.ones((260, 400), bool)
    outside[top - 2 : bottom + 2, left - 2 : right + 2] = False
    assert (np.asarray(image_of(done))[outside] == 0).all()
    assert made(plain("white"), font=font).facts["color"] == "#141416"


@pytest.mark.parametrize(
    ("busy", "positions"),
    [
        (np.s_[:, :200], {"right", "top-right", "bottom-right"}),
        (np.s_[:, 200:], {"left", "top-left", "bottom-left"}),
        (np.s_[:130], {"bottom", "bottom-left", "bottom-right"}),
        (np.s_[130:], {"top", "top-left", "top-right"}),
    ],
    ids=["left", "right", "top", "bottom"],
)
def test_text_goes_to_the_calm_part(font: str, busy: Any, positions: set[str]) -> None:
    rgb_HWC = np.full((260, 400, 3), 60, np.uint8)
    rgb_HWC[busy] = noise((400, 260))[busy]
    done = made(Image.fromarray(rgb_HWC), font=font)
    assert done.facts["position"] in positions
    left, top, right, bottom = done.facts["box"]
    below = np.zeros((260, 400), bool)
    below[top:bottom, left:right] = True
    assert below[busy].sum() < 0.02 * below.sum()


def test_on_a_busy_image_the_copy_goes_into_a_field_below(font: str) -> None:
    picture = Image.fromarray(noise((400, 260)))
    done = made(picture, font=font)
    image = image_of(done)
    assert done.facts["position"] == "below"
    assert image.width == 400
    assert image.height > 300
    assert (np.asarray(image)[:260] == np.asarray(picture)).all()
    assert extent(ink(done))[1] >= 260 + 10
    assert done.facts["contrast"] >= 7
    assert image_of(made(picture, font=font, position="bottom")).size == (400, 260)


@pytest.mark.parametrize(("color", "contrast"), [("white", 7), ("black", 7), ("#777777", 4)])
def test_a_field_contrasts_with_the_given_color(font: str, color: str, contrast: float) -> None:
    done = made(Image.fromarray(noise((400, 260))), font=font, position="below", color=color)
    field = np.asarray(image_of(done))[-1, 0]
    text = np.array(ImageColor.getrgb(color))
    assert contrast_ratio(relative_luminance(field), relative_luminance(text)) >= contrast
    assert ink(done)[260:].any()


def test_lines_are_aligned_by_their_ink(font: str) -> None:
    """The square of the first character may have an empty left part, for example 《."""
    left, *_ = extent(ink(made(plain("black"), ("看大熊猫",), position="bottom-left", font=font, margin=0.1)))
    _, _, right, _ = extent(ink(made(plain("black"), ("看大熊猫",), position="top-right", font=font, margin=0.1)))
    assert abs(left - 26) <= 1
    assert abs(right - (400 - 26)) <= 1


def test_the_headline_is_as_large_as_possible(font: str) -> None:
    short, long = (
        made(plain("black"), (text,), font=font).facts["headline_px"] for text in ("看大熊猫", "周末去看大熊猫" * 9)
    )
    assert short > 1.5 * long
    narrow = made(plain("black", (200, 800)), (EN[0],), font=font)
    assert len(narrow.facts["lines"]) >= 2
    assert all(word in " ".join(narrow.facts["lines"]).split() for word in EN[0].split())


def test_line_breaks_of_the_user_are_kept(font: str) -> None:
    assert made(plain("black"), ("周末\n去看大熊猫",), font=font).facts["lines"] == ["周末", "去看大熊猫"]


def test_copy_that_does_not_fit_is_a_problem_of_this_image_only(font: str) -> None:
    overlay = Overlay(OverlaySettings(size=64, font=font))
    drafts = [draft(plain("black"), lines) for lines in (("周末去看大熊猫" * 200,), ZH)]
    started = time.monotonic()
    for given in drafts:
        overlay.check(given)
    bad, good = overlay.make(drafts)
    assert time.monotonic() - started < 20  # trying all line breaks takes minutes here
    assert bad.image is None
    assert "0001-1, 1400 characters, does not fit on 400 × 260 pixels" in bad.problem
    assert "shorten it" in bad.problem
    assert good.image is not None


def test_small_images_are_enlarged_so_that_text_is_sharp(font: str) -> None:
    overlay = Overlay(OverlaySettings(font=font, size=800))
    (small,) = overlay.make([draft(plain("black", (200, 100)), ZH)])
    (large,) = overlay.make([draft(plain("black", (1000, 500)), ZH)])
    assert image_of(small).size == (800, 400)
    assert image_of(large).size == (1000, 500)


def test_no_font_with_the_glyphs(font: str) -> None:
    with pytest.raises(InputError, match="has no glyph for '狮虎'"):
        made(plain("black"), ("看狮虎",), font=font)


def test_characters_without_ink_are_not_drawn(font: str) -> None:
    """Pasted text may contain joiners, variation selectors and direction marks."""
    clean, dirty = (made(plain("black"), (text,), font=font) for text in ("看大熊猫!", "看\u200b大\ufe0f熊\u200e猫!"))
    assert dirty.facts["lines"] == clean.facts["lines"]
    assert image_of(dirty).tobytes() == image_of(clean).tobytes()


def test_transparent_images_get_a_white_background(font: str) -> None:
    done = made(Image.new("RGBA", (400, 260), (255, 0, 0, 0)), font=font)
    assert image_of(done).getpixel((0, 0)) == (255, 255, 255)


def test_the_same_draft_gives_the_same_bytes_alone_or_in_a_batch(font: str) -> None:
    overlay = Overlay(OverlaySettings(size=64, font=font))
    drafts = [draft(Image.fromarray(noise((400, 260), seed)), ZH) for seed in range(3)]
    together = [image_of(done).tobytes() for done in overlay.make(drafts)]
    assert together == [image_of(overlay.make([given])[0]).tobytes() for given in drafts]
    assert len({overlay.bucket(given) for given in drafts}) == 1


def test_a_draft_may_change_settings(font: str) -> None:
    assert made(plain("black"), font=font, color="#ffcc00").facts["color"] == "#ffcc00"
    one, other = (draft(plain("black"), ZH, position=position) for position in ("top", "bottom"))
    overlay = Overlay(OverlaySettings(font=font))
    assert overlay.bucket(one) != overlay.bucket(other)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"position": "middle"}, "overlay.position is 'middle'; give one of: auto, below, top-left"),
        ({"margin": 0.5}, "overlay.margin is 0.5; give a number from 0 to 0.25"),
        ({"contrast": 30}, "overlay.contrast is 30"),
        ({"size": 10}, "overlay.size is 10"),
        ({"color": "reddish"}, "overlay.color is 'reddish'; give auto"),
        ({"colour": "red"}, "has no setting 'colour'; it has: position, margin, font, color"),
        ({"font": "No Such Family"}, "'No Such Family' is neither a file nor installed"),
    ],
)
def test_settings_that_cannot_be_used(font: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        made(plain("black"), **({"font": font} | settings))


@pytest.mark.parametrize("lines", [(), ("", "  ")])
def test_a_draft_without_copy_is_refused(lines: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="there is no copy"):
        made(plain("black"), lines)


def test_a_draft_needs_one_image() -> None:
    with pytest.raises(InputError, match="takes 1 reference, not 0"):
        Overlay(OverlaySettings()).check(Draft(name="0001-1", prompt="", seed=0, lines=ZH))


def test_overlay_by_name(font: str) -> None:
    overlay = load_strategies(["overlay"], {"overlay": {"font": font}}, ModelOptions())
    assert overlay.name == "overlay"
    assert overlay.describe()["settings"]["font"] == font
    (done,) = overlay.make([draft(plain("black"), ZH)])
    assert image_of(done).size == (1024, 666)


def test_the_headline_is_above_the_text_and_larger(font: str) -> None:
    done = made(plain("black"), position="top-left", font=font)
    rows = ink(done).any(1)
    starts = np.flatnonzero(np.diff(rows.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(rows.astype(int)) == -1)
    heights = (ends - starts).tolist()
    assert len(heights) == len(done.facts["lines"])
    assert heights[0] > 1.8 * heights[-1]


def test_an_image_file_is_not_changed(font: str, tmp_path: Path) -> None:
    picture = plain((30, 60, 90))
    before = picture.tobytes()
    made(picture, font=font)
    assert picture.tobytes() == before
