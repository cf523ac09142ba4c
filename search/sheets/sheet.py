"""Contact sheets: sections of images as one HTML page that stands alone, or as one PNG."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw, ImageFont

from ...datasets import InputError, display
from ...datasets.files import write_atomic
from .fonts import ADVICE, choose, fitted
from .html import STYLE, THUMBNAIL, Html, inline, link, number, page
from .section import SheetSection, Tile

log = logging.getLogger(__name__)

_MISSING = "the image is missing"


def write_sheet(sections: Sequence[SheetSection], path: Path, *, title: str | None = None, further: str = "") -> Path:
    """Writes a sheet of one or several sections, as HTML or PNG by the extension of `path`.

    A tile whose image is missing keeps its place and says so.

    Args:
        sections: from top to bottom.
        path: the file; its folder is created.
        title: of the page; None for the headings of the sections. A PNG has no title.
        further: HTML below the sections of a page; it is not escaped.

    Returns:
        The path.

    Raises:
        InputError: if `path` ends in neither .html nor .png.
        FileError: if the file cannot be written; it is then absent, or what it was before.
    """
    extension = path.suffix.lower()
    if extension not in (".html", ".png"):
        raise InputError(f"a sheet cannot be written as {path.name!r}; give a name that ends in .html or .png")
    if extension == ".html":
        write_atomic(path, _page(sections, title, Html(further)).encode())
    else:
        write_atomic(path, png_bytes(_draw_sheet(sections)))
    return path


def png_bytes(image: Image.Image) -> bytes:
    """Returns an image as the content of a PNG file. Pillow reports a full disk without saying so."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def fragment(section: SheetSection) -> Html:
    """Returns a section as HTML for another page, such as a notebook."""
    return Html("<style>{}</style><div class=diantu>{}</div>").format(Html(STYLE), _section(section))


def thumbnail(tile: Tile) -> Image.Image | None:
    """Returns the image of a tile, at most 320 pixels wide and high; None if it is missing."""
    try:
        return tile.thumbnail(THUMBNAIL)
    except FileNotFoundError:
        return None


def _page(sections: Sequence[SheetSection], title: str | None, further: Html) -> str:
    heading = title or " · ".join(section.heading for section in sections)
    if title is None and len(sections) == 1:  # the heading of the only section is the heading of the page
        body = [_section(sections[0], "h1"), further]
    else:
        body = [Html("<h1>{}</h1>").format(heading), *map(_section, sections), further]
    return page(heading, Html("\n").join(body))


def _section(section: SheetSection, level: Literal["h1", "h2"] = "h2") -> Html:
    shown = Html("<img src={} alt=query>").format(inline(section.image)) if section.image else ""
    best_score = max((tile.score for tile in section.tiles), default=0.0)
    return Html(
        "<section><header>{shown}<div><{level}>{heading}</{level}><span class=dim>{note}</span></div></header>"
        "<div class=hits>{figures}</div></section>"
    ).format(
        shown=shown,
        level=level,
        heading=section.heading,
        note=section.note,
        figures=Html("\n").join(_figure(tile, max(best_score, 1e-6)) for tile in section.tiles),
    )


def _figure(tile: Tile, best_score: float) -> Html:
    image = thumbnail(tile)
    return Html(
        "<figure title='{details}'>{shown}<figcaption>"
        "<div class=score><b>{score}</b><span class=dim>{zscore}</span></div>"
        "<div class=bar><i style='width:{width}%'></i></div>"
        "<div class=clip>{caption}</div><div class='dim clip'>{key}{folded}</div></figcaption></figure>"
    ).format(
        details=tile.details,
        shown=(
            Html("<img src={} alt='{}'>").format(inline(image), tile.caption)
            if image
            else Html("<div class=gone>{}</div>").format(_MISSING)
        ),
        score=number(tile.score, ".3f"),
        zscore="" if tile.zscore is None else f"z {number(tile.zscore, '+.1f')}",
        width=round(100 * max(0.0, min(1.0, tile.score / best_score))),
        caption=tile.caption,
        key=link(tile.url, tile.key),
        folded=f" (+{tile.folded})" if tile.folded else "",
    )


# The PNG is a grid of cells; each cell is an image with two lines of text below it. All sizes are in pixels.
_CELL, _TEXT, _GAP, _COLUMNS = 200, 40, 12, 6
_HEADING = 40


def _draw_sheet(sections: Sequence[SheetSection]) -> Image.Image:
    face, missing = choose("".join(_texts(sections)))
    if missing:
        log.warning("no font has %r, drawn as boxes on the sheet; %s, or write an .html sheet", missing[:20], ADVICE)
    columns = max(1, min(_COLUMNS, max((len(section.tiles) for section in sections), default=1)))
    heights = [_HEADING + -(-len(section.tiles) // columns) * (_CELL + _TEXT + _GAP) for section in sections]
    sheet = Image.new("RGB", (_GAP + columns * (_CELL + _GAP), _GAP + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    font, large = face.at(14), face.at(20)
    top = _GAP
    for section, height in zip(sections, heights, strict=True):
        draw.text((_GAP, top), fitted(section.heading, large, sheet.width - 2 * _GAP), fill="black", font=large)
        for i, tile in enumerate(section.tiles):
            left = _GAP + i % columns * (_CELL + _GAP)
            _draw_cell(sheet, draw, tile, left, top + _HEADING + i // columns * (_CELL + _TEXT + _GAP), font)
        top += height
    return sheet


def _draw_cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, tile: Tile, left: int, top: int, font: ImageFont.FreeTypeFont
) -> None:
    image = thumbnail(tile)
    if image:
        image.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
        sheet.paste(image, (left + (_CELL - image.width) // 2, top + (_CELL - image.height) // 2))
    else:
        draw.rectangle((left, top, left + _CELL, top + _CELL), outline="#bbb")
        draw.text((left + 8, top + _CELL // 2), _MISSING, fill="#888", font=font)
    draw.text((left, top + _CELL + 2), f"{tile.rank}.  {tile.score:.3f}", fill="#2a7de1", font=font)
    draw.text((left, top + _CELL + 20), fitted(tile.caption, font, _CELL), fill="black", font=font)


def _texts(sections: Sequence[SheetSection]) -> Iterator[str]:
    for section in sections:
        yield display.one_line(section.heading)
        yield from (display.one_line(tile.caption) for tile in section.tiles)
