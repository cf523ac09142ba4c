"""A run for people to look at: `index.html` and `sheet.png`, reference and result side by side."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont

from ...datasets.files import replacing, write_atomic
from ...search.sheets.fonts import ADVICE, choose, fitted
from ...search.sheets.html import STYLE
from ...search.sheets.sheet import inline
from ..references.reference import Reference
from .results import GenerationResult, Results

log = logging.getLogger(__name__)

_THREADS = 4
_THUMBNAIL = 320  # pixels of the long side

# Nested like the style of search's sheets, which it goes on from.
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
_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style
html { color-scheme: light dark; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1.25rem; }</style></head><body class=diantu>
<h1>$title</h1>
<dl class=run>$facts</dl>
<div class=cards>
$cards
</div></body></html>
""")


def poster_section(results: Results, title: str, page: Path) -> str:
    """Pictures of a run in large, each beside what it was made from, as HTML to go into another page.

    Args:
        results: of the run.
        title: of the section.
        page: where that page will be: pictures are in it, and lead to their files.
    """
    cards = []
    for result in results:
        link = quote(os.path.relpath(result.path, page.parent)) if result.path else ""
        poster = inline(result.image(), _POSTER) if result.path else ""
        shown = f"<a href='{link}'><img src={poster} alt='{escape(result.name)}'></a>" if poster else ""
        found = "".join(_reference(it, _source(_small_reference(it))) for it in result.references)
        words = ", ".join(word for word, _ in result.record.get("keywords", ()))
        told = f"<p><span class=dim>searched for</span> {escape(words)}</p>" if words else ""
        problem = f"<p class={result.status}>{escape(result.reason)}</p>" if result.reason else ""
        cards.append(
            f"<article class=poster>{shown or problem}<div><p>{escape(result.request.prompt)}</p>{told}{found}</div>"
            "</article>"
        )
    style = f"<style>{_MORE_STYLE}{_POSTER_STYLE}</style>"
    return f"{style}<section><header><h2>{escape(title)}</h2></header>{''.join(cards)}</section>"


def write_pages(root: Path, results: Results) -> None:
    """Writes the page and the contact sheet of a run.

    The page stands alone, with small pictures in it; where the folder is beside it, they lead to the large ones. A
    reference whose pixels are gone keeps its place.
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
    page = _PAGE.substitute(
        style=STYLE + _MORE_STYLE, title=escape(f"{results.folder.resolve().name}: {_counted(results)}"),
        facts=_facts(results), cards="\n".join(cards),
    )  # fmt: skip
    write_atomic(root / "index.html", page.encode())
    sheet = _draw_sheet(results, [[small[r.identity] for r in result.references] for result in results], made)
    with replacing(root / "sheet.png") as temporary:
        sheet.save(temporary, "PNG")


def _small_reference(reference: Reference) -> Image.Image | None:
    try:
        return _small(reference.image())
    except FileNotFoundError:
        return None


def _small_result(result: GenerationResult) -> Image.Image | None:
    return None if result.path is None else _small(result.image())


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((_THUMBNAIL, _THUMBNAIL), Image.Resampling.LANCZOS)
    return image


def _source(image: Image.Image | None) -> str | None:
    return None if image is None else inline(image)


def _counted(results: Results) -> str:
    return ", ".join(f"{number} {status}" for status, number in sorted(results.counts.items()))


def _facts(results: Results) -> str:
    """What all pictures have in common."""
    record = results[0].record
    rows = [(f"{name} settings", _told(settings)) for name, settings in _settings(record.get("strategy", {}))]
    described = record.get("strategy", {})
    for name, inner in [("", described), *((f"{k} ", v) for k, v in described.items() if isinstance(v, Mapping))]:
        rows += [(f"{name}{key}", str(inner[key])) for key in ("model", "revision", "scheduler") if inner.get(key)]
    rows += [("gallery", f"version {record['gallery']}")] if record.get("gallery") else []
    used = {reference.identity for result in results for reference in result.references}
    rows.append(("references", f"{len(used)} different ones"))
    return "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)


def _settings(described: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The settings of each strategy of a chain, or of the one there is."""
    if isinstance(described.get("settings"), Mapping):
        yield str(described.get("strategy", name)), described["settings"]
        return
    for inner_name, inner in described.items():
        if isinstance(inner, Mapping):
            yield from _settings(inner, inner_name)


def _told(values: Mapping[str, Any]) -> str:
    told = {name: value for name, value in values.items() if value not in (None, "", [], {})}
    return " · ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in told.items()
    )


def _card(result: GenerationResult, references: Sequence[str | None], source: str | None) -> str:
    record = result.record
    shown = [_reference(*it) for it in zip(result.references, references, strict=True)]
    several = f"<div class=several>{''.join(shown)}</div>" if len(shown) > 1 else "".join(shown)
    query = " + ".join(it if isinstance(it, str) else it[0] for it in record.get("query", ()))
    prompt = record.get("prompt", "")
    notes = (
        ("what the model was told", prompt if prompt != record.get("written") else ""),
        ("to be avoided", record.get("negative_prompt")),
        ("searched for", query if query != record.get("written") else ""),
        ("copy", " / ".join(record.get("lines", ()))),
        ("settings of its own", "; ".join(f"{name}: {_told(it)}" for name, it in record.get("settings", {}).items())),
        ("no reference", record.get("reason") if result.status == "done" else ""),
    )
    lines = "".join(f"<p><span class=dim>{name}</span> {escape(str(text))}</p>" for name, text in notes if text)
    everything = escape(json.dumps(dict(record), indent=1, ensure_ascii=False))
    return (
        f"<article id='{escape(result.name)}'><h2>{escape(result.request.prompt or result.name)}</h2>"
        f"<div class=pair>{several or _nothing('no reference')}{_result(result, source)}</div>{lines}"
        f"<details><summary>all that is known of {escape(result.name)}</summary><pre>{everything}</pre></details>"
        "</article>"
    )


def _reference(reference: Reference, source: str | None) -> str:
    name = escape(reference.key)
    picture = f"<img src={source} alt='{name}' loading=lazy>" if source else "<div class=gone>the picture is gone</div>"
    # What is no web address, as javascript:…, is not made a link.
    url = reference.source or ""
    is_link = url.startswith(("https://", "http://"))
    shown = f"<a href='{escape(url)}' rel=noreferrer>{name}</a>" if is_link else name
    score = "" if reference.score is None else f"<b>{reference.score:.3f}</b>"
    zscore = "" if reference.zscore is None else f"<span class=dim>z {reference.zscore:+.1f}</span>"
    credit = " · ".join(text for text in (reference.licence, reference.author) if text)
    return (
        f"<figure>{picture}<figcaption><div class=score>{score}{zscore}</div>{shown}<br>"
        f"<span class=dim>{escape(credit) or 'licence not known'}</span></figcaption></figure>"
    )


def _result(result: GenerationResult, source: str | None) -> str:
    record = result.record
    if source is None:
        return f"<figure><div class='gone {result.status}'>{result.status}: {escape(result.reason)}</div></figure>"
    link = quote(record["file"])
    size = f"{record['width']} × {record['height']}"
    return (
        f"<figure><a href='{link}'><img src={source} alt='{escape(result.name)}' loading=lazy></a><figcaption>"
        f"<div class=score><b>{escape(result.name)}</b><span class=dim>{record['seconds']:.2f} s</span></div>"
        f"{size}<br><span class=dim>seed {record['seed']}</span></figcaption></figure>"
    )


def _nothing(what: str) -> str:
    return f"<figure><div class=gone>{what}</div></figure>"


# The PNG: a grid of cells, each a reference and a result with two lines under them.
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
        log.warning("no font has %r on sheet.png, drawn as boxes; %s, or see index.html", missing[:20], ADVICE)
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
