"""Contact sheets: hits as one HTML page that stands alone, or as one PNG."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ...datasets import InputError
from ..hits import Hit, Hits
from .fonts import ADVICE, choose, fitted
from .html import _PAGE, STYLE

log = logging.getLogger(__name__)

_THUMBNAIL = 320  # pixels of the long side, twice what the page shows: sharp on dense screens


def write_sheet(sections: Sequence[Hits], path: Path, *, title: str | None = None, further: str = "") -> Path:
    """Writes the hits of one or several queries, as HTML or PNG by the ending of `path`.

    A hit whose pixels are gone keeps its place, with a note in it. `further` is HTML that stands below the hits.

    Raises:
        InputError: if `path` ends in neither.
    """
    ending = path.suffix.lower()
    if ending not in (".html", ".png"):
        raise InputError(f"a sheet named {path.name!r} cannot be written; its name must end in .html or .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    if ending == ".html":
        heading = title or " · ".join(hits.query.label for hits in sections)
        shown = "\n".join([*map(_section, sections), further])
        page = _PAGE.substitute(style=STYLE, title=escape(heading), sections=shown)
        path.write_text(page, encoding="utf-8")
    else:
        _draw_sheet(sections).save(path)
    return path


def fragment(hits: Hits) -> str:
    """The hits as HTML to be shown inside another page, such as a notebook."""
    return f"<style>{STYLE}</style><div class=diantu>{_section(hits)}</div>"


def thumbnail(hit: Hit) -> Image.Image | None:
    """A hit's picture, at most 320 pixels long, or None if its pixels are gone."""
    try:
        return hit.thumbnail(_THUMBNAIL)
    except FileNotFoundError:
        return None


def _section(hits: Hits) -> str:
    shown = f"<img src={inline(hits.query.image)} alt=query>" if hits.query.image else ""
    label = escape(hits.query.label)
    figures = "\n".join(_figure(hit, max(*(hit.score for hit in hits), 1e-6)) for hit in hits)
    where = f", where {escape(hits.explain.get('where', ''))}" if hits.explain.get("where") else ""
    note = f"{hits.query.kind} query{where}, {len(hits)} hits, {hits.took_ms:.1f} ms"
    return (
        f"<section><header>{shown}<div><h2>{label}</h2><span class=dim>{note}</span></div></header>"
        f"<div class=hits>{figures}</div></section>"
    )


def _figure(hit: Hit, best_score: float) -> str:
    image = thumbnail(hit)
    caption = escape(hit.caption or hit.key)
    picture = f"<img src={inline(image)} alt='{caption}'>" if image else "<div class=gone>the picture is gone</div>"
    details = escape("\n".join(f"{name}: {value}" for name, value in hit.metadata.items() if value is not None))
    zscore = "" if hit.zscore is None else f"z {hit.zscore:+.1f}"
    url = str(hit.metadata.get("url") or "")
    # What is no web address, as javascript:…, is not made a link.
    is_link = url.startswith(("https://", "http://"))
    key = f"<a href='{escape(url)}' rel=noreferrer>{escape(hit.key)}</a>" if is_link else escape(hit.key)
    folded = f" (+{hit.folded})" if hit.folded else ""
    width = round(100 * max(0.0, min(1.0, hit.score / best_score)))
    return (
        f"<figure title='{details}'>{picture}<figcaption>"
        f"<div class=score><b>{hit.score:.3f}</b><span class=dim>{zscore}</span></div>"
        f"<div class=bar><i style='width:{width}%'></i></div>"
        f"{caption}<br><span class=dim>{key}{folded}</span></figcaption></figure>"
    )


def inline(image: Image.Image, size: int = _THUMBNAIL) -> str:
    """A picture as the value of `src`, quoted: at most `size` pixels long."""
    image = image.copy()
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=85)
    return f"'data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}'"


# The PNG: a grid of cells, each a picture with two lines under it.
_CELL, _TEXT, _GAP, _COLUMNS = 200, 40, 12, 6
_HEADING = 40


def _draw_sheet(sections: Sequence[Hits]) -> Image.Image:
    face, missing = choose("".join(_texts(sections)))
    if missing:
        log.warning("no font has %r on the sheet, drawn as boxes; %s, or write an .html sheet", missing[:20], ADVICE)
    columns = max(1, min(_COLUMNS, max((len(hits) for hits in sections), default=1)))
    heights = [_HEADING + -(-len(hits) // columns) * (_CELL + _TEXT + _GAP) for hits in sections]
    sheet = Image.new("RGB", (_GAP + columns * (_CELL + _GAP), _GAP + sum(heights)), "white")
    draw = ImageDraw.Draw(sheet)
    font, large = face.at(14), face.at(20)
    top = _GAP
    for hits, height in zip(sections, heights, strict=True):
        draw.text((_GAP, top), fitted(hits.query.label, large, sheet.width - 2 * _GAP), fill="black", font=large)
        for i, hit in enumerate(hits):
            left = _GAP + i % columns * (_CELL + _GAP)
            _draw_cell(sheet, draw, hit, left, top + _HEADING + i // columns * (_CELL + _TEXT + _GAP), font)
        top += height
    return sheet


def _draw_cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, hit: Hit, left: int, top: int, font: ImageFont.FreeTypeFont
) -> None:
    image = thumbnail(hit)
    if image:
        image.thumbnail((_CELL, _CELL), Image.Resampling.LANCZOS)
        sheet.paste(image, (left + (_CELL - image.width) // 2, top + (_CELL - image.height) // 2))
    else:
        draw.rectangle((left, top, left + _CELL, top + _CELL), outline="#bbb")
        draw.text((left + 8, top + _CELL // 2), "the picture is gone", fill="#888", font=font)
    draw.text((left, top + _CELL + 2), f"{hit.rank}.  {hit.score:.3f}", fill="#2a7de1", font=font)
    draw.text((left, top + _CELL + 20), fitted(hit.caption or hit.key, font, _CELL), fill="black", font=font)


def _texts(sections: Sequence[Hits]) -> Iterator[str]:
    for hits in sections:
        yield hits.query.label
        yield from (hit.caption or hit.key for hit in hits)
