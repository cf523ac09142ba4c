"""The pages of a run: `index.html` and `sheet.png` show reference and result side by side."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont

from ...datasets.checksums import write_checked
from ...search.sheets.fonts import ADVICE, choose, fitted
from ...search.sheets.html import THUMBNAIL, inline, link, page
from ...search.sheets.sheet import png_bytes
from ..references.reference import Reference
from .results import GenerationResult, Results

log = logging.getLogger(__name__)

_THREADS = 4  # that read and shrink images

# Nested in one class, like the style of all pages, which it extends.
_MORE_STYLE = """
.diantu { .run { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .75rem 0 2rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); gap: 1.25rem; }
article { border: 1px solid var(--line); border-radius: 10px; padding: .75rem; min-width: 0; }
article > h2 { overflow-wrap: anywhere; margin-bottom: .6rem; font-size: 1rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; margin-bottom: .6rem; }
.several { display: grid; grid-template-columns: 1fr 1fr; gap: .35rem; align-content: start; }
.pair :is(img, .gone) { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #8881; }
.pair .gone { display: grid; box-sizing: border-box; padding: .75rem; text-align: center; overflow-wrap: anywhere; }
.several figcaption { font-size: .75rem; }
figcaption { font-size: .85rem; } p { margin: .2rem 0; overflow-wrap: anywhere; }
.failed, .refused { color: #c33; } .skipped { color: #a70; }
summary { cursor: pointer; color: var(--dim); font-size: .85rem; }
pre { font-size: .75rem; white-space: pre-wrap; overflow-wrap: anywhere; margin: .4rem 0 0; } }
"""
_POSTER = 720  # pixels of the long side of a poster in a page
_POSTER_STYLE = """
.diantu .poster { display: grid; grid-template-columns: minmax(0, 3fr) minmax(9rem, 1fr); gap: 1rem; margin-top: 1rem; }
.diantu .poster > a > img { display: block; width: 100%; border-radius: 6px; }
.diantu .poster figure > img { aspect-ratio: 4/3; width: 100%; object-fit: contain; }
"""


def poster_section(results: Results, title: str, path: Path) -> str:
    """Returns large pictures of a run, each beside its references, as HTML for another page.

    Args:
        results: of the run.
        title: of the section.
        path: of the other page. The pictures are inside it and link to their files.
    """
    cards = "".join(_poster(result, path.parent) for result in results)
    style = f"<style>{_MORE_STYLE}{_POSTER_STYLE}</style>"
    return f"{style}<section><header><h2>{escape(title)}</h2></header>{cards}</section>"


def write_pages(root: Path, results: Results) -> None:
    """Writes the page and the contact sheet of a run.

    The page stands alone with small pictures in it, which link to the large ones in the folder beside it. A reference
    whose image is missing keeps its place.
    """
    with ThreadPoolExecutor(_THREADS, "pages") as pool:
        references = {reference.identity: reference for result in results for reference in result.references}
        small = dict(zip(references, pool.map(_small_reference, references.values()), strict=True))
        made = list(pool.map(_small_result, results))
        inlined = dict(zip(small, pool.map(_source, small.values()), strict=True))
        cards = [
            _card(result, [inlined[reference.identity] for reference in result.references], source)
            for result, source in zip(results, pool.map(_source, made), strict=True)
        ]
    title = f"{results.folder.resolve().name}: {_counted(results)}"
    shown = "\n".join(cards)
    body = f"<h1>{escape(title)}</h1>\n<dl class=run>{_facts(results)}</dl>\n<div class=cards>\n{shown}\n</div>"
    write_checked(root, "index.html", page(title, body, style=_MORE_STYLE).encode())
    sheet = _draw_sheet(results, [[small[r.identity] for r in result.references] for result in results], made)
    write_checked(root, "sheet.png", png_bytes(sheet))


def _poster(result: GenerationResult, folder: Path) -> str:
    """Returns a picture with its prompt, keywords and references."""
    if result.path:
        target = quote(os.path.relpath(result.path, folder))
        shown = f"<a href='{target}'><img src={inline(result.image(), _POSTER)} alt='{escape(result.name)}'></a>"
    else:
        shown = f"<p class={result.status}>{escape(result.reason)}</p>"
    found = "".join(_reference(it, _source(_small_reference(it))) for it in result.references)
    words = ", ".join(word for word, _ in result.record.get("keywords", ()))
    keywords = f"<p><span class=dim>searched for</span> {escape(words)}</p>" if words else ""
    prompt = f"<p>{escape(result.request.prompt)}</p>"
    return f"<article class=poster>{shown}<div>{prompt}{keywords}{found}</div></article>"


def _small_reference(reference: Reference) -> Image.Image | None:
    try:
        return _small(reference.image())
    except FileNotFoundError:
        return None


def _small_result(result: GenerationResult) -> Image.Image | None:
    return None if result.path is None else _small(result.image())


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return image


def _source(image: Image.Image | None) -> str | None:
    return None if image is None else inline(image)


def _counted(results: Results) -> str:
    return ", ".join(f"{number} {status}" for status, number in sorted(results.counts.items()))


def _facts(results: Results) -> str:
    """Returns the facts that all pictures share, as HTML."""
    record = results[0].record
    rows = [(f"{name} settings", _listed(settings)) for name, settings in _settings(record.get("strategy", {}))]
    described = record.get("strategy", {})
    for name, inner in [("", described), *((f"{k} ", v) for k, v in described.items() if isinstance(v, Mapping))]:
        rows += [(f"{name}{key}", str(inner[key])) for key in ("model", "revision", "scheduler") if inner.get(key)]
    rows += [("gallery", f"version {record['gallery']}")] if record.get("gallery") else []
    used = {reference.identity for result in results for reference in result.references}
    rows.append(("references", f"{len(used)} different images"))
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)


def _settings(described: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the names and settings of the strategies: those of a chain, or the only one."""
    if isinstance(described.get("settings"), Mapping):
        yield str(described.get("strategy", name)), described["settings"]
        return
    for inner_name, inner in described.items():
        if isinstance(inner, Mapping):
            yield from _settings(inner, inner_name)


def _listed(values: Mapping[str, Any]) -> str:
    given = {name: value for name, value in values.items() if value not in (None, "", [], {})}
    return " · ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in given.items()
    )


def _card(result: GenerationResult, references: Sequence[str | None], source: str | None) -> str:
    record = result.record
    shown = [_reference(*it) for it in zip(result.references, references, strict=True)]
    several = f"<div class=several>{''.join(shown)}</div>" if len(shown) > 1 else "".join(shown)
    query = " + ".join(it if isinstance(it, str) else it[0] for it in record.get("query", ()))
    prompt = record.get("prompt", "")
    notes = (
        ("prompt for the model", prompt if prompt != record.get("written") else ""),
        ("negative prompt", record.get("negative_prompt")),
        ("searched for", query if query != record.get("written") else ""),
        ("copy", " / ".join(record.get("lines", ()))),
        ("own settings", "; ".join(f"{name}: {_listed(it)}" for name, it in record.get("settings", {}).items())),
        ("no reference", record.get("reason") if result.status == "done" else ""),
    )
    lines = "".join(f"<p><span class=dim>{name}</span> {escape(str(text))}</p>" for name, text in notes if text)
    everything = escape(json.dumps(dict(record), indent=1, ensure_ascii=False))
    return (
        f"<article id='{escape(result.name)}'><h2>{escape(result.request.prompt or result.name)}</h2>"
        f"<div class=pair>{several or _nothing('no reference')}{_result(result, source)}</div>{lines}"
        f"<details><summary>all facts about {escape(result.name)}</summary><pre>{everything}</pre></details>"
        "</article>"
    )


def _reference(reference: Reference, source: str | None) -> str:
    image = (
        f"<img src={source} alt='{escape(reference.key)}' loading=lazy>"
        if source
        else "<div class=gone>the image is missing</div>"
    )
    score = "" if reference.score is None else f"<b>{reference.score:.3f}</b>"
    zscore = "" if reference.zscore is None else f"<span class=dim>z {reference.zscore:+.1f}</span>"
    credit = " · ".join(text for text in (reference.licence, reference.author) if text)
    return (
        f"<figure>{image}<figcaption><div class=score>{score}{zscore}</div>"
        f"{link(reference.source or '', reference.key)}<br>"
        f"<span class=dim>{escape(credit) or 'licence not known'}</span></figcaption></figure>"
    )


def _result(result: GenerationResult, source: str | None) -> str:
    record = result.record
    if source is None:
        return f"<figure><div class='gone {result.status}'>{result.status}: {escape(result.reason)}</div></figure>"
    target = quote(record["file"])
    size = f"{record['width']} × {record['height']}"
    return (
        f"<figure><a href='{target}'><img src={source} alt='{escape(result.name)}' loading=lazy></a><figcaption>"
        f"<div class=score><b>{escape(result.name)}</b><span class=dim>{record['seconds']:.2f} s</span></div>"
        f"{size}<br><span class=dim>seed {record['seed']}</span></figcaption></figure>"
    )


def _nothing(what: str) -> str:
    return f"<figure><div class=gone>{what}</div></figure>"


# The PNG is a grid of cells, each with a reference, a result and two lines of text below. All sizes are in pixels.
_SIDE, _TEXT, _GAP, _COLUMNS, _HEADING = 150, 42, 14, 4, 34
_MOST_CELLS = 400


def _draw_sheet(
    results: Results, references: Sequence[Sequence[Image.Image | None]], made: Sequence[Image.Image | None]
) -> Image.Image:
    num_cells = min(len(results), _MOST_CELLS)
    shown = f"the first {num_cells} of {len(results)} pictures" if num_cells < len(results) else _counted(results)
    heading = f"{results.folder.resolve().name}: {shown}"
    face, missing = choose(heading + "".join(map(_label, results[:num_cells])))
    if missing:
        log.warning("no font has %r, drawn as boxes on sheet.png; %s, or see index.html", missing[:20], ADVICE)
    columns = min(_COLUMNS, num_cells)
    width, height = 2 * _SIDE + _GAP, _SIDE + _TEXT + _GAP
    size = (_GAP + columns * (width + _GAP), _GAP + _HEADING + -(-num_cells // columns) * height)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), fitted(heading, face.at(18), size[0] - 2 * _GAP), fill="black", font=face.at(18))
    for i in range(num_cells):
        left, top = _GAP + i % columns * (width + _GAP), _GAP + _HEADING + i // columns * height
        _paste(sheet, draw, references[i][0] if references[i] else None, (left, top))
        _paste(sheet, draw, made[i], (left + _SIDE + 4, top))
        _draw_label(draw, results[i], face.at(13), (left, top + _SIDE + 3))
    return sheet


def _paste(sheet: Image.Image, draw: ImageDraw.ImageDraw, image: Image.Image | None, place: tuple[int, int]) -> None:
    left, top = place
    if image is None:
        draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), outline="#bbb")
        draw.line((left, top, left + _SIDE - 1, top + _SIDE - 1), fill="#bbb")
        return
    image = image.copy()
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    sheet.paste(image, (left + (_SIDE - image.width) // 2, top + (_SIDE - image.height) // 2))


def _draw_label(
    draw: ImageDraw.ImageDraw, result: GenerationResult, font: ImageFont.FreeTypeFont, place: tuple[int, int]
) -> None:
    first = result.references[0].score if result.references else None
    status = "" if result.status == "done" else f"  {result.status}"
    score = "" if first is None else f"  {first:.3f}"
    width = 2 * _SIDE
    draw.text(place, fitted(f"{result.name}{score}{status}", font, width), fill="#2a7de1", font=font)
    draw.text((place[0], place[1] + 18), fitted(_label(result), font, width), fill="black", font=font)


def _label(result: GenerationResult) -> str:
    return result.request.prompt or result.name
