"""Sets a headline and the text below it as one block: sizes, lines, spacing; in pixels from the block's top left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from PIL import ImageDraw, ImageFont

from ....search.sheets.fonts import Face
from ...copy.han import is_han, is_wide
from .placement import Align
from .typography import Lines, Measure, Segment, in_lines, wrap

HEADLINE_WEIGHT, TEXT_WEIGHT = 700, 400

_MOST_LINES = 4  # of a headline
_TEXT_SIZE = 0.4  # as a share of the size of the headline
_SMALLEST_TEXT = 0.8  # the smallest text, as a share of the smallest headline
_MEASURED_AT = 256  # the font size in pixels at which lengths in ems are measured
_LEADING_LATIN, _LEADING_HAN = 1.14, 1.28  # of a headline, in ems
_LEADING_TEXT = 1.55
_GAP = 0.3  # between the headline and the text, in ems of the headline
_MEASURE = 26.0  # the longest line of text in ems: longer lines are hard to read


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The copy to set, and its faces.

    Attributes:
        headline: one paragraph; a line feed ends a line.
        texts: further paragraphs, in a smaller size.
        bold: the face of the headline.
        regular: the face of the texts.
        segment: splits Chinese into words; None to break between any characters.
    """

    headline: str
    texts: Sequence[str]
    bold: Face
    regular: Face
    segment: Segment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLine:
    """One line of text in a block.

    Attributes:
        text: of the line.
        font: at its size.
        tracking: extra space between characters, in pixels.
        left: where the ink begins, in pixels from the left of the block.
        baseline: in pixels from the top of the block.
    """

    text: str
    font: ImageFont.FreeTypeFont
    tracking: float
    left: float
    baseline: float

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The box of its ink: left, top, right, bottom."""
        left, top, right, bottom = _ink(self.text, self.font, self.tracking)
        return self.left, self.baseline + top, self.left + right - left, self.baseline + bottom

    def draw(self, draw: ImageDraw.ImageDraw, x: float, y: float, fill: tuple[int, int, int]) -> None:
        """Draws the line; the top left corner of the block is at x, y."""
        x += self.left - _ink(self.text, self.font, self.tracking)[0]
        for text, at in _spaced(self.text, self.font, self.tracking):
            draw.text((x + at, y + self.baseline), text, fill=fill, font=self.font, anchor="ls")


@dataclass(frozen=True, kw_only=True)
class Block:
    """Lines with their positions.

    Attributes:
        lines: from top to bottom.
        size: of the headline, in pixels.
        cost: of the line breaks of the headline.
    """

    lines: Sequence[TextLine]
    size: int
    cost: float

    @cached_property
    def boxes(self) -> list[tuple[float, float, float, float]]:
        """The boxes of the ink, one per line."""
        return [line.box for line in self.lines]

    @property
    def width(self) -> float:
        """The width of the ink in pixels."""
        return max(right for _, _, right, _ in self.boxes)

    @property
    def height(self) -> float:
        """The height of the ink in pixels."""
        return max(bottom for _, _, _, bottom in self.boxes)


def typeset(copy: Copy, width: float, height: float, *, smallest: float, largest: float, align: Align) -> Block | None:
    """Sets copy as large as fits into width × height. A smaller headline with better line breaks may be preferred.

    Args:
        copy: the text and its faces.
        width: of the place, in pixels.
        height: of the place, in pixels.
        smallest: the smallest size of the headline, in pixels; text has at least 0.8 of it.
        largest: the largest size of the headline, in pixels.
        align: how lines are aligned.

    Returns:
        The block; None if the copy does not fit in the smallest size.
    """
    if _least_height(copy, width, smallest) > height:
        return None
    best: Block | None = None
    measure = _measure(copy.bold, HEADLINE_WEIGHT, _tracking(copy.headline))
    for lines in _headlines(copy, width / smallest, measure):
        most = min(largest, width / max(map(measure, lines.lines)) + 1)
        if most < smallest or (best and most <= _merit(best)):
            continue
        block = _fitted(copy, lines, width, height, smallest, most, align)
        if block and (best is None or _merit(block) > _merit(best)):
            best = block
    return best


def _least_height(copy: Copy, width: float, smallest: float) -> float:
    """Returns a lower bound of the height in the smallest sizes, as if all lines were full. It is fast for any copy."""
    height = 0.0
    for text, size, leading in [
        (copy.headline, smallest, _LEADING_LATIN),
        *((text, _SMALLEST_TEXT * smallest, _LEADING_TEXT) for text in copy.texts),
    ]:
        face, weight = (copy.regular, TEXT_WEIGHT) if height else (copy.bold, HEADLINE_WEIGHT)
        height += _measure(face, weight, 0.0)(" ".join(text.split())) * size / width * size * leading
    return height - smallest * _LEADING_LATIN  # the first line takes less than its leading


def _merit(block: Block) -> float:
    return block.size * max(1 - 2 * block.cost, 0.1)


def _headlines(copy: Copy, ems: float, measure: Measure) -> Iterator[Lines]:
    """Yields ways to break the headline; the last one is for headlines that fit in no other."""
    if "\n" in copy.headline:
        yield Lines(lines=[" ".join(line.split()) for line in copy.headline.splitlines() if line.strip()], cost=0.0)
    else:
        for num_lines in range(1, _MOST_LINES + 1):
            if found := in_lines(copy.headline, num_lines, ems, measure, segment=copy.segment):
                yield found
    yield Lines(lines=wrap(copy.headline, ems, measure, segment=copy.segment), cost=0.5)


def _fitted(
    copy: Copy, lines: Lines, width: float, height: float, smallest: float, largest: float, align: Align
) -> Block | None:
    """Sets the copy in the largest size in which all of it fits, with these lines of the headline."""

    def fits(size: int) -> Block | None:
        block = _set(copy, lines, size, width, smallest, align)
        return block if block.width <= width and block.height <= height else None

    low, high = int(smallest), int(largest)
    best = fits(low)
    if best is None:
        return None
    while low < high:
        middle = (low + high + 1) // 2
        if block := fits(middle):
            low, best = middle, block
        else:
            high = middle - 1
    return best


def _set(copy: Copy, headline: Lines, size: int, width: float, smallest: float, align: Align) -> Block:
    rows: list[tuple[str, ImageFont.FreeTypeFont, float, float]] = []  # text, font, tracking, leading
    bold = copy.bold.at(size, HEADLINE_WEIGHT)
    leading = (_LEADING_HAN if any(map(is_wide, copy.headline)) else _LEADING_LATIN) * size
    tracking = _tracking(copy.headline) * size
    for line in headline.lines:
        rows.append((line, bold, tracking, leading))
    text_size = max(round(_TEXT_SIZE * size), round(_SMALLEST_TEXT * smallest))
    regular = copy.regular.at(text_size, TEXT_WEIGHT)
    ems = min(width / text_size // 0.5 * 0.5, _MEASURE)  # in steps, so that several sizes share the same lines
    gap = _GAP * size
    for text in copy.texts:
        tracking = _tracking(text)
        for line in _paragraph(text, ems, copy.regular, tracking, copy.segment):
            rows.append((line, regular, tracking * text_size, _LEADING_TEXT * text_size + gap))
            gap = 0.0
        gap = 0.35 * text_size
    return _stacked(rows, size, headline.cost, align)


@lru_cache(maxsize=256)
def _paragraph(text: str, ems: float, face: Face, tracking: float, segment: Segment | None) -> list[str]:
    return wrap(text, ems, _measure(face, TEXT_WEIGHT, tracking), segment=segment)


def _stacked(
    rows: Sequence[tuple[str, ImageFont.FreeTypeFont, float, float]], size: int, cost: float, align: Align
) -> Block:
    """Stacks rows (text, font, tracking, leading); the ink of the first one touches the top."""
    inks = [_ink(text, font, tracking) for text, font, tracking, _ in rows]
    widest = max(right - left for left, _, right, _ in inks)
    share = {"left": 0.0, "center": 0.5, "right": 1.0}[align]
    lines: list[TextLine] = []
    baseline = -inks[0][1]
    for (text, font, tracking, leading), (left, _, right, _) in zip(rows, inks, strict=True):
        baseline += leading if lines else 0.0
        place = share * (widest - (right - left))
        lines.append(TextLine(text=text, font=font, tracking=tracking, left=place, baseline=baseline))
    return Block(lines=lines, size=size, cost=cost)


def _tracking(text: str) -> float:
    """Returns the extra space between characters in ems: capitals and short Chinese lines look crowded without it."""
    letters = [char for char in text if char.isalpha()]
    if letters and all(map(is_han, letters)) and len(text) <= 8:
        return 0.05
    return 0.06 if len(letters) > 1 and "".join(letters).isupper() else 0.0


def _spaced(text: str, font: ImageFont.FreeTypeFont, tracking: float) -> Iterator[tuple[str, float]]:
    """Yields the parts that are drawn at once, with their distances from the start of the line."""
    if not tracking:
        yield text, 0.0
        return
    at = 0.0
    for char in text:
        yield char, at
        at += font.getlength(char) + tracking


@lru_cache(maxsize=4096)
def _ink(text: str, font: ImageFont.FreeTypeFont, tracking: float) -> tuple[float, float, float, float]:
    """Returns left, top, right, bottom of the ink, relative to the start of the line on the baseline."""
    boxes = [(at, _ink_of(part, font)) for part, at in _spaced(text, font, tracking) if part.strip()]
    return (
        min(at + box[0] for at, box in boxes), min(box[1] for _, box in boxes),
        max(at + box[2] for at, box in boxes), max(box[3] for _, box in boxes),
    )  # fmt: skip


def _ink_of(text: str, font: ImageFont.FreeTypeFont) -> tuple[float, float, float, float]:
    """Returns the box of the ink. `getbbox` also counts empty parts of a character, such as the left half of 《."""
    mask, (x, y) = font.getmask2(text, mode="L", anchor="ls")
    left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
    return x + left, y + top, x + right, y + bottom


@lru_cache(maxsize=64)
def _measure(face: Face, weight: int, tracking: float) -> Measure:
    """Returns a function that measures lines in ems."""
    font = face.at(_MEASURED_AT, weight)
    return lru_cache(maxsize=4096)(lambda text: font.getlength(text) / _MEASURED_AT + tracking * len(text))
