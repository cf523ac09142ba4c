"""The pages of a run: `index.html` and `sheet.png` show reference and result side by side."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args
from urllib.parse import quote

from PIL import Image, ImageDraw, ImageFont

from ...datasets import display
from ...datasets.checksums import write_checked
from ...search.sheets.fonts import ADVICE, choose, fitted
from ...search.sheets.html import THUMBNAIL, Html, inline, link, number, page
from ...search.sheets.sheet import png_bytes
from ..references.reference import Reference
from .journal import PICTURES, Status
from .results import GenerationResult, Results

log = logging.getLogger(__name__)

_THREADS = 4  # that read and shrink images

# Nested in one class, like the style of all pages, which it extends.
_MORE_STYLE = """
.diantu { .run { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .75rem 0 2rem; }
dt { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(30rem, 100%), 1fr)); gap: 1.25rem; }
article { border: 1px solid var(--line); border-radius: 10px; padding: .75rem; min-width: 0; }
article > h2 { margin-bottom: .6rem; font-size: 1rem; }
figure > .gone { overflow: hidden; }
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


def poster_section(results: Results, title: str, path: Path) -> Html:
    """Returns large pictures of a run, each beside its references, for another page.

    Args:
        results: of the run.
        title: of the section.
        path: of the other page. The pictures are inside it and link to their files.
    """
    cards = Html().join(_poster(result, path.parent) for result in results)
    return Html("<style>{}</style><section><header><h2>{}</h2></header>{}</section>").format(
        Html(_MORE_STYLE + _POSTER_STYLE), title, cards
    )


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
    body = Html("<h1>{}</h1>\n<dl class=run>{}</dl>\n<div class=cards>\n{}\n</div>").format(
        title, _facts(results), Html("\n").join(cards)
    )
    write_checked(root, "index.html", page(title, body, style=_MORE_STYLE).encode())
    sheet = _draw_sheet(results, [[small[r.identity] for r in result.references] for result in results], made)
    write_checked(root, "sheet.png", png_bytes(sheet))


def _poster(result: GenerationResult, folder: Path) -> Html:
    """Returns a picture with its prompt, keywords and references."""
    if result.path:
        shown = Html("<a href='{}'><img src={} alt='{}'></a>").format(
            quote(os.path.relpath(result.path, folder)), inline(result.image(), _POSTER), result.name
        )
    else:
        shown = Html("<p class={}>{}</p>").format(_class(result), result.reason)
    words = ", ".join(str(word) for word, *_ in filter(None, _listing(result.record.get("keywords"))))
    keywords = Html("<p><span class=dim>searched for</span> {}</p>").format(words) if words else ""
    found = Html().join(_reference(it, _source(_small_reference(it))) for it in result.references)
    return Html("<article class=poster>{}<div><p>{}</p>{}{}</div></article>").format(
        shown, result.request.prompt, keywords, found
    )


def _small_reference(reference: Reference) -> Image.Image | None:
    try:
        return _small(reference.image())
    except FileNotFoundError:
        return None


def _small_result(result: GenerationResult) -> Image.Image | None:
    try:
        return None if result.path is None else _small(result.image())
    except FileNotFoundError:
        return None


def _small(image: Image.Image) -> Image.Image:
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return image


def _source(image: Image.Image | None) -> Html | None:
    return None if image is None else inline(image)


def _counted(results: Results) -> str:
    return ", ".join(f"{number} {status}" for status, number in sorted(results.counts.items()))


def _facts(results: Results) -> Html:
    """Returns the facts that all pictures share."""
    record = results[0].record
    described = _mapping(record.get("strategy"))
    rows = [(f"{name} settings", _listed(settings)) for name, settings in _settings(described)]
    for name, inner in [("", described), *((f"{k} ", v) for k, v in described.items() if isinstance(v, Mapping))]:
        rows += [(f"{name}{key}", str(inner[key])) for key in ("model", "revision", "scheduler") if inner.get(key)]
    rows += [("gallery", f"version {record['gallery']}")] if record.get("gallery") else []
    used = {reference.identity for result in results for reference in result.references}
    rows.append(("references", f"{len(used)} different images"))
    return Html().join(Html("<dt>{}</dt><dd>{}</dd>").format(*row) for row in rows)


def _settings(described: Mapping[str, Any], name: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the names and settings of the strategies: those of a chain, or the only one."""
    if isinstance(described.get("settings"), Mapping):
        yield str(described.get("strategy", name)), described["settings"]
        return
    for inner_name, inner in described.items():
        if isinstance(inner, Mapping):
            yield from _settings(inner, inner_name)


def _listed(values: Any) -> str:
    given = {name: value for name, value in _mapping(values).items() if value not in (None, "", [], {})}
    return " · ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}" for name, value in given.items()
    )


def _card(result: GenerationResult, references: Sequence[Html | None], source: Html | None) -> Html:
    record = result.record
    shown = [_reference(*it) for it in zip(result.references, references, strict=True)]
    if not shown:
        shown = [_nothing("no reference")]
    pair = Html("<div class=several>{}</div>").format(Html().join(shown)) if len(shown) > 1 else shown[0]
    lines = Html("<p class=clip><span class=dim>{}</span> {}</p>")
    everything = json.dumps(dict(record), indent=1, ensure_ascii=False)
    return Html(
        "<article id='{name}'><h2>{heading}</h2><div class=pair>{pair}{result}</div>{notes}"
        "<details><summary>all facts about {name}</summary><pre>{everything}</pre></details></article>"
    ).format(
        name=result.name,
        heading=result.request.prompt or result.name,
        pair=pair,
        result=_result(result, source),
        notes=Html().join(lines.format(*note) for note in _notes(result) if note[1]),
        everything=everything,
    )


def _notes(result: GenerationResult) -> Iterator[tuple[str, Any]]:
    record = result.record
    written = record.get("written")
    query = " + ".join(str(it[0] if isinstance(it, list) and it else it) for it in _listing(record.get("query")))
    yield "prompt for the model", prompt if (prompt := record.get("prompt", "")) != written else ""
    yield "negative prompt", record.get("negative_prompt")
    yield "searched for", query if query != written else ""
    yield "copy", " / ".join(map(str, _listing(record.get("lines"))))
    yield "own settings", "; ".join(f"{name}: {_listed(it)}" for name, it in _mapping(record.get("settings")).items())
    yield "no reference", record.get("reason") if result.status == "done" else ""


def _reference(reference: Reference, source: Html | None) -> Html:
    image = (
        Html("<img src={} alt='{}' loading=lazy>").format(source, reference.key)
        if source
        else Html("<div class=gone>the image is missing</div>")
    )
    score = "" if reference.score is None else Html("<b>{}</b>").format(number(reference.score, ".3f"))
    zscore = "" if reference.zscore is None else Html("<span class=dim>z {}</span>").format(
        number(reference.zscore, "+.1f")
    )  # fmt: skip
    credit = " · ".join(text for text in (reference.licence, reference.author) if text)
    return Html(
        "<figure>{image}<figcaption><div class=score>{score}{zscore}</div>"
        "<div class=clip>{key}</div><div class='dim clip'>{credit}</div></figcaption></figure>"
    ).format(
        image=image, score=score, zscore=zscore, key=link(reference.source or "", reference.key),
        credit=credit or "licence not known",
    )  # fmt: skip


def _result(result: GenerationResult, source: Html | None) -> Html:
    record = result.record
    if source is None:
        return Html("<figure><div class='gone {}'>{}: {}</div></figure>").format(
            _class(result), result.status, result.reason
        )
    return Html(
        "<figure><a href='{file}'><img src={source} alt='{name}' loading=lazy></a><figcaption>"
        "<div class=score><b>{name}</b><span class=dim>{seconds} s</span></div>"
        "{width} × {height}<br><span class=dim>seed {seed}</span></figcaption></figure>"
    ).format(
        file=quote(f"{PICTURES}/{Path(str(record.get('file'))).name}"),
        source=source,
        name=result.name,
        seconds=number(record.get("seconds"), ".2f"),
        **{name: record.get(name) for name in ("width", "height", "seed")},
    )


def _class(result: GenerationResult) -> str:
    """Returns the class of a status in the style; empty for a word that is not a status."""
    return result.status if result.status in get_args(Status) else ""


def _nothing(what: str) -> Html:
    return Html("<figure><div class=gone>{}</div></figure>").format(what)


def _mapping(value: Any) -> Mapping[str, Any]:
    """Returns an object of a row, which may hold anything, because the manifest may have been edited."""
    return value if isinstance(value, Mapping) else {}


def _listing(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []


# The PNG is a grid of cells, each with a reference, a result and two lines of text below. All sizes are in pixels.
_SIDE, _TEXT, _GAP, _COLUMNS, _HEADING = 150, 42, 14, 4, 34
_MOST_CELLS = 400


def _draw_sheet(
    results: Results, references: Sequence[Sequence[Image.Image | None]], made: Sequence[Image.Image | None]
) -> Image.Image:
    num_cells = min(len(results), _MOST_CELLS)
    shown = f"the first {num_cells} of {len(results)} pictures" if num_cells < len(results) else _counted(results)
    heading = display.one_line(f"{results.folder.resolve().name}: {shown}")
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
    return display.one_line(result.request.prompt or result.name)
