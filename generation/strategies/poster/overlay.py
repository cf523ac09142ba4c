"""Draws copy on an image: in a calm place, as large as it fits, in a colour that can be read there."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from itertools import product
from typing import Any, get_args

from PIL import Image, ImageColor, ImageDraw

from ....datasets import InputError
from ....search.sheets import fonts
from ...copy import chinese
from ...copy.han import is_han
from ..base import BaseStrategy
from ..settings import check_choice, check_number
from ..sizes import flatten
from ..spec import Draft, Made
from .contrast import Box, draw_scrim, field_color, legibility
from .placement import ANCHORS, Position, activity, disturbance
from .typesetting import HEADLINE_WEIGHT, TEXT_WEIGHT, Block, Copy, typeset

# The largest headline, as a share of the short side of the image; the smallest one is a setting.
_LARGEST = 0.14
_FALLOFF = 0.4  # the distance over which a scrim fades out, as a share of the short side
# When a place is chosen: the value of a headline of the largest size, against the value of a calm place.
_WORTH_OF_SIZE = 0.5
# Corners, top and bottom come first; left, right and center are taken only if they are much better.
_RELUCTANCE = {"left": 0.1, "right": 0.1, "center": 1.0}
# The shares of the largest size to try.
_SIZES = (1.0, 0.75, 0.55)
# If all places are busier than this, the copy goes into a field below the image.
_TOO_BUSY = 0.25
_CONTRAST_OF_FIELD = 7.0
_LEAST_HEADLINE = 8.0  # pixels: nobody can read smaller letters, and fonts have none below one pixel
_FIELD = 0.4  # the largest height of the copy in the field, as a share of the height of the image


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlaySettings:
    """How copy is drawn on an image.

    Attributes:
        position: top-left, top, top-right, left, center, right, bottom-left, bottom or bottom-right; `below` for a
            field under the image, in a colour of the image; `auto` for a calm place on the image, or `below` if there
            is none.
        margin: the free space at the edges, as a share of the short side.
        font: a font file, the name of an installed file, or a family; empty for the best one that has the glyphs.
        color: `auto`, or a CSS colour: a name or #rrggbb.
        contrast: between text and image as WCAG measures it, from 1 to 15. If it is less, a scrim is drawn.
        smallest: the smallest size of a headline, as a share of the short side.
        size: the long side in pixels to which a smaller image is enlarged, so that the text is sharp.
    """

    position: Position = "auto"
    margin: float = 0.07
    font: str = ""
    color: str = "auto"
    contrast: float = 4.5
    smallest: float = 0.04
    size: int = 1024

    def __post_init__(self) -> None:
        check_choice("overlay.position", self.position, get_args(Position))
        check_number("overlay.margin", self.margin, 0, 0.25)
        check_number("overlay.contrast", self.contrast, 1, 15)
        check_number("overlay.smallest", self.smallest, 0.02, _LARGEST)
        check_number("overlay.size", self.size, 64, 8192, whole=True)
        if self.color != "auto":
            try:
                ImageColor.getrgb(self.color)
            except ValueError as error:
                raise InputError(
                    f"overlay.color is {self.color!r}; give auto, the name of a colour, or a value like #ffcc00"
                ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A block at a place.

    Attributes:
        name: of the place.
        block: the copy as lines.
        box: of the block, in pixels of the image.
        disturbance: how busy the image is under the block, from 0 to 1.
        cost: of this place; the lowest one is taken.
    """

    name: str
    block: Block
    box: Box
    disturbance: float
    cost: float


class Overlay(BaseStrategy[OverlaySettings]):
    """Draws the copy of a draft on its reference."""

    name = "overlay"
    settings_type = OverlaySettings
    packages = ("pillow", "jieba")

    def check(self, draft: Draft) -> None:
        """See `Strategy`.

        Raises:
            InputError: if there is no reference or no copy, a setting cannot be used, or no font has all glyphs.
        """
        super().check(draft)
        _copy(draft, self.settings_of(draft))

    def make_one(self, draft: Draft, settings: OverlaySettings) -> Made:
        """Draws the copy on the reference."""
        copy = _copy(draft, settings)
        image = enlarged(draft.references[0], settings.size)
        placed = _placed(copy, image, settings)
        if placed is None:
            return Made(
                image=None,
                problem=f"the copy of {draft.name}, {sum(map(len, draft.lines))} characters, does not fit on "
                f"{image.width} × {image.height} pixels with a headline of {_smallest(image, settings):.0f}; "
                "shorten it, or lower overlay.smallest or overlay.margin",
            )
        result, facts = _drawn(image, placed, settings)
        faces = {"headline": _label(copy.bold, HEADLINE_WEIGHT), "text": _label(copy.regular, TEXT_WEIGHT)}
        return Made(image=result, facts={**facts, "fonts": faces})


def enlarged(image: Image.Image, long_side: int) -> Image.Image:
    """Returns the image as RGB, enlarged if its long side has fewer pixels than `long_side`."""
    image = flatten(image)
    scale = long_side / max(image.size)
    if scale <= 1:
        return image
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _smallest(image: Image.Image, settings: OverlaySettings) -> float:
    """Returns the smallest size of a headline, in pixels."""
    return max(settings.smallest * min(image.size), _LEAST_HEADLINE)


def _copy(draft: Draft, settings: OverlaySettings) -> Copy:
    """Returns the cleaned copy of the draft and the faces that have its glyphs.

    Raises:
        InputError: if there is no copy, or no font has all glyphs.
    """
    lines = [line for line in map(_cleaned, draft.lines) if line.strip()]
    if not lines:
        raise InputError(f"{draft.name}: there is no copy to draw on the image; give its request a headline")
    text = "".join(lines)
    bold, regular = (fonts.find(text, name=settings.font, weight=weight) for weight in (HEADLINE_WEIGHT, TEXT_WEIGHT))
    has_words = any(map(is_han, text)) and chinese.version() is not None
    return Copy(
        headline=lines[0], texts=lines[1:], bold=bold, regular=regular, segment=chinese.segment if has_words else None
    )


def _label(face: fonts.Face, weight: int) -> str:
    return f"{face.family} {weight if face.has_weights else face.style}"


def _cleaned(line: str) -> str:
    """Removes characters without ink that some fonts draw as boxes: controls, joiners, variation selectors."""
    return "".join(
        char for char in unicodedata.normalize("NFC", line)
        if char == "\n" or (unicodedata.category(char) not in ("Cc", "Cf") and not "\ufe00" <= char <= "\ufe0f")
    )  # fmt: skip


def _placed(copy: Copy, image: Image.Image, settings: OverlaySettings) -> Placed | None:
    """Returns the best of the places where the copy fits; None if there is none."""
    short = min(image.size)
    margin = settings.margin * short
    map_hw = activity(image)
    best: Placed | None = None
    for (name, anchor), share in product(ANCHORS.items(), _SIZES):
        if settings.position not in ("auto", name):
            continue
        width, height = (image.width - 2 * margin) * anchor.width, (image.height - 2 * margin) * anchor.height
        block = typeset(
            copy,
            width,
            height,
            smallest=_smallest(image, settings),
            largest=share * _LARGEST * short,
            align=anchor.align,
        )
        if block is None:
            continue
        box = anchor.place(image.size, (block.width, block.height), margin)
        disturbed = disturbance(map_hw, image.size, box, 0.25 * block.size)
        cost = (
            disturbed + _RELUCTANCE.get(name, 0.0) - _WORTH_OF_SIZE * block.size * (1 - block.cost) / (_LARGEST * short)
        )
        if best is None or cost < best.cost:
            best = Placed(name=name, block=block, box=box, disturbance=disturbed, cost=cost)
    if settings.position == "below" or (settings.position == "auto" and (best is None or best.disturbance > _TOO_BUSY)):
        return _below(copy, image, settings) or best
    return best


def _below(copy: Copy, image: Image.Image, settings: OverlaySettings) -> Placed | None:
    """Returns the copy in a field below the image; None if it does not fit."""
    short = min(image.size)
    margin = settings.margin * short
    block = typeset(
        copy, image.width - 2 * margin, _FIELD * image.height, smallest=_smallest(image, settings),
        largest=_LARGEST * short, align="left",
    )  # fmt: skip
    if block is None:
        return None
    top = image.height + margin
    box = margin, top, margin + block.width, top + block.height
    return Placed(name="below", block=block, box=box, disturbance=0.0, cost=0.0)


def _drawn(original: Image.Image, placed: Placed, settings: OverlaySettings) -> tuple[Image.Image, dict[str, Any]]:
    """Returns the image with the copy on it, and the facts for the manifest."""
    block, (left, top, _, bottom) = placed.block, placed.box
    color = None if settings.color == "auto" else ImageColor.getrgb(settings.color)[:3]
    image = original
    if placed.name == "below":
        height = round(bottom + settings.margin * min(original.size))
        image = Image.new(
            "RGB", (original.width, height), field_color(original, max(_CONTRAST_OF_FIELD, settings.contrast), color)
        )
        image.paste(original)
    boxes = [(left + x0, top + y0, left + x1, top + y1) for x0, y0, x1, y1 in block.boxes]
    found = legibility(image, boxes, contrast=settings.contrast, color=color)
    if found.opacity and placed.name in ANCHORS:  # the colour of a field is already the best one
        band = ANCHORS[placed.name].band(image.size, placed.box, 0.5 * block.size)
        image = draw_scrim(image, band, _FALLOFF * min(image.size), found.scrim, found.opacity)
    image = image.copy()
    draw = ImageDraw.Draw(image)
    for line in block.lines:
        line.draw(draw, left, top, found.color)
    facts = {
        "position": placed.name,
        "lines": [line.text for line in block.lines],
        "headline_px": block.size,
        "box": [round(value) for value in placed.box],
        "disturbance": round(placed.disturbance, 2),
        "color": "#{:02x}{:02x}{:02x}".format(*found.color),
        "contrast": round(found.after, 2),
        "contrast_without_scrim": round(found.before, 2),
        "scrim": round(found.opacity, 3),
    }
    return image, facts
