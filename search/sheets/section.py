"""The values that a sheet draws: sections of tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One image on a sheet, with its captions.

    Attributes:
        thumbnail: returns the image, at most so many pixels wide and high; raises FileNotFoundError if it is missing.
            It is a function, so that a sheet holds one image at a time.
        rank: its position, from 1.
        score: higher is better.
        zscore: the score in standard deviations; None if it is not known.
        caption: one line of text under the image.
        key: a name, shown smaller below the caption.
        folded: the number of near-duplicates that the image stands for.
        url: where the image is from; only http and https become a link.
        details: several lines of text that the page shows on hover.
    """

    thumbnail: Callable[[int], Image.Image] = field(repr=False)
    rank: int
    score: float
    zscore: float | None = None
    caption: str = ""
    key: str = ""
    folded: int = 0
    url: str = ""
    details: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetSection:
    """The tiles of one query.

    Attributes:
        heading: the query in words.
        note: one line below the heading, for example how many hits there are.
        image: the image of the query; None if it has none.
        tiles: in the order in which they are shown.
    """

    heading: str
    note: str = ""
    image: Image.Image | None = field(default=None, repr=False)
    tiles: Sequence[Tile] = ()
