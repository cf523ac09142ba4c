"""Copy set on a picture: where it is calm, as large as fits, in a colour that can be read there."""

from __future__ import annotations

import importlib.metadata
import unicodedata
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

from PIL import Image, ImageColor, ImageDraw

from ....datasets import InputError
from ....search.sheets import fonts
from ...copy import chinese
from ...copy.han import is_han
from ..settings import changed_settings, check_choice, check_number
from ..sizes import flatten
from ..spec import Draft, Made
from .contrast import Box, draw_scrim, field_color, legibility
from .placement import ANCHORS, activity, disturbance
from .typesetting import HEADLINE_WEIGHT, TEXT_WEIGHT, Block, Copy, typeset

# The largest headline, as a share of the picture's short side; the smallest one is a setting.
_LARGEST = 0.14
_FALLOFF = 0.4  # how far a scrim fades out, as a share of the short side
# What a headline of the largest size is worth against calm, when a place is chosen.
_WORTH_OF_SIZE = 0.5
# Text stands in a corner, above the middle or below it; beside the middle, only if that is much better.
_RELUCTANCE = {"left": 0.1, "right": 0.1, "center": 1.0}
# Shares of the largest size that are tried.
_SIZES = (1.0, 0.75, 0.55)
# Where all places are busier than this, the copy goes into a field below the picture.
_TOO_BUSY = 0.25
_CONTRAST_OF_FIELD = 7.0
_FIELD = 0.4  # how high its copy is at most, as a share of the picture


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlaySettings:
    """How copy is set on a picture.

    Attributes:
        position: top-left, top, top-right, left, center, right, bottom-left, bottom, bottom-right; below for a field
            of the picture's own colour under it; auto for a calm place on the picture, or below where there is none.
        margin: what stays free at the edges, as a share of the short side.
        font: a font's file, the name of an installed file, or a family; empty for the best one that has the glyphs.
        color: auto, or one that CSS knows by name or as #rrggbb.
        contrast: between text and picture as WCAG measures it, from 1 to 15; a scrim is laid where it is less.
        smallest: a headline's least size, as a share of the short side.
        size: the long side in pixels, to which a smaller picture is enlarged, so that the text is sharp.
    """

    position: str = "auto"
    margin: float = 0.07
    font: str = ""
    color: str = "auto"
    contrast: float = 4.5
    smallest: float = 0.04
    size: int = 1024

    def __post_init__(self) -> None:
        check_choice("overlay.position", self.position, ("auto", "below", *ANCHORS))
        check_number("overlay.margin", self.margin, 0, 0.25)
        check_number("overlay.contrast", self.contrast, 1, 15)
        check_number("overlay.smallest", self.smallest, 0.02, _LARGEST)
        check_number("overlay.size", self.size, 64, 8192, whole=True)
        if self.color != "auto":
            try:
                ImageColor.getrgb(self.color)
            except ValueError as error:
                raise InputError(
                    f"overlay.color is {self.color!r}; give auto, a colour's name, or one like #ffcc00"
                ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A block at a place: `box` in pixels of the picture, and how much happens below it, from 0 to 1."""

    name: str
    block: Block
    box: Box
    disturbance: float
    cost: float


class Overlay:
    """Sets a draft's copy on its picture."""

    name = "overlay"
    num_references = (1, 1)

    def __init__(self, settings: OverlaySettings) -> None:
        self.settings = settings

    def describe(self) -> dict[str, Any]:
        """The settings, and what draws and breaks lines."""
        versions = {"pillow": importlib.metadata.version("pillow"), "jieba": chinese.version()}
        return {"strategy": self.name, "settings": asdict(self.settings), "versions": versions}

    def check(self, draft: Draft) -> None:
        """Says before the work what could not be used.

        Raises:
            InputError: if there is no picture or no copy, a setting cannot be used, or no font has all glyphs.
        """
        if len(draft.references) != 1:
            raise InputError(f"{draft.name}: {self.name!r} takes 1 reference, not {len(draft.references)}")
        _copy(draft, self._settings(draft))

    def bucket(self, draft: Draft) -> Hashable:
        """Pictures are set one by one, so any may come together that have the same settings."""
        return self._settings(draft)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """Sets the copy of each draft on its picture."""
        return [self._set(draft, self._settings(draft)) for draft in drafts]

    def _settings(self, draft: Draft) -> OverlaySettings:
        return changed_settings(self.settings, self.name, draft.settings.get(self.name, {}))

    def _set(self, draft: Draft, settings: OverlaySettings) -> Made:
        copy = _copy(draft, settings)
        picture = enlarged(draft.references[0], settings.size)
        placed = _placed(copy, picture, settings)
        if placed is None:
            short = min(picture.size)
            return Made(
                image=None,
                problem=f"the copy of {draft.name}, {sum(map(len, draft.lines))} characters, does not fit on "
                f"{picture.width} × {picture.height} pixels with a headline of {settings.smallest * short:.0f}; "
                "shorten it, or lower overlay.smallest or overlay.margin",
            )
        image, facts = _drawn(picture, placed, settings)
        faces = {"headline": _label(copy.bold, HEADLINE_WEIGHT), "text": _label(copy.regular, TEXT_WEIGHT)}
        return Made(image=image, facts={**facts, "fonts": faces})


def enlarged(image: Image.Image, long_side: int) -> Image.Image:
    """The picture as RGB, at least so many pixels long."""
    image = flatten(image)
    scale = long_side / max(image.size)
    if scale <= 1:
        return image
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)


def _copy(draft: Draft, settings: OverlaySettings) -> Copy:
    """The draft's copy, cleaned, and the faces that have its glyphs.

    Raises:
        InputError: if there is none, or no font has all glyphs.
    """
    lines = [line for line in map(_cleaned, draft.lines) if line.strip()]
    if not lines:
        raise InputError(f"{draft.name}: there is no copy to set on the picture; give its request a headline")
    text = "".join(lines)
    bold, regular = (fonts.find(text, name=settings.font, weight=weight) for weight in (HEADLINE_WEIGHT, TEXT_WEIGHT))
    has_words = any(map(is_han, text)) and chinese.version() is not None
    return Copy(
        headline=lines[0], texts=lines[1:], bold=bold, regular=regular, segment=chinese.segment if has_words else None
    )


def _label(face: fonts.Face, weight: int) -> str:
    return f"{face.family} {weight if face.has_weights else face.style}"


def _cleaned(line: str) -> str:
    """Without what has no ink but is drawn as a box by some fonts: controls, joiners, forms of emoji."""
    return "".join(
        char for char in unicodedata.normalize("NFC", line)
        if char == "\n" or (unicodedata.category(char) not in ("Cc", "Cf") and not "\ufe00" <= char <= "\ufe0f")
    )  # fmt: skip


def _placed(copy: Copy, picture: Image.Image, settings: OverlaySettings) -> Placed | None:
    """The best of the places in which the copy fits; None if there is none."""
    short = min(picture.size)
    margin = settings.margin * short
    map_hw = activity(picture)
    best: Placed | None = None
    for (name, anchor), share in product(ANCHORS.items(), _SIZES):
        if settings.position not in ("auto", name):
            continue
        width, height = (picture.width - 2 * margin) * anchor.width, (picture.height - 2 * margin) * anchor.height
        block = typeset(
            copy,
            width,
            height,
            smallest=settings.smallest * short,
            largest=share * _LARGEST * short,
            align=anchor.align,
        )
        if block is None:
            continue
        box = anchor.place(picture.size, (block.width, block.height), margin)
        disturbed = disturbance(map_hw, picture.size, box, 0.25 * block.size)
        cost = (
            disturbed + _RELUCTANCE.get(name, 0.0) - _WORTH_OF_SIZE * block.size * (1 - block.cost) / (_LARGEST * short)
        )
        if best is None or cost < best.cost:
            best = Placed(name=name, block=block, box=box, disturbance=disturbed, cost=cost)
    if settings.position == "below" or (settings.position == "auto" and (best is None or best.disturbance > _TOO_BUSY)):
        return _below(copy, picture, settings) or best
    return best


def _below(copy: Copy, picture: Image.Image, settings: OverlaySettings) -> Placed | None:
    """The copy in a field below the picture, which is made as high as that takes."""
    short = min(picture.size)
    margin = settings.margin * short
    block = typeset(
        copy, picture.width - 2 * margin, _FIELD * picture.height, smallest=settings.smallest * short,
        largest=_LARGEST * short, align="left",
    )  # fmt: skip
    if block is None:
        return None
    top = picture.height + margin
    box = margin, top, margin + block.width, top + block.height
    return Placed(name="below", block=block, box=box, disturbance=0.0, cost=0.0)


def _drawn(picture: Image.Image, placed: Placed, settings: OverlaySettings) -> tuple[Image.Image, dict[str, Any]]:
    block, (left, top, _, bottom) = placed.block, placed.box
    color = None if settings.color == "auto" else ImageColor.getrgb(settings.color)[:3]
    image = picture
    if placed.name == "below":
        height = round(bottom + settings.margin * min(picture.size))
        image = Image.new(
            "RGB", (picture.width, height), field_color(picture, max(_CONTRAST_OF_FIELD, settings.contrast), color)
        )
        image.paste(picture)
    boxes = [(left + x0, top + y0, left + x1, top + y1) for x0, y0, x1, y1 in block.boxes]
    found = legibility(image, boxes, contrast=settings.contrast, color=color)
    if found.opacity and placed.name in ANCHORS:  # a field has the best colour that it may have
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
