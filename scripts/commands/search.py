"""`diantu search`."""

from __future__ import annotations

import json as jsons
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...datasets import InputError

if TYPE_CHECKING:
    from ...search import Gallery, Hits, Query

log = logging.getLogger(__name__)

_PROMPT = "search> "
_HOW = "a line is a text; @picture.jpg is a picture; an empty line ends"


def run(
    gallery: str,
    text: str | None = None,
    image: str | None = None,
    vector: str | None = None,
    texts: list[str] = [],  # noqa: B006 - read, never changed
    images: list[str] = [],  # noqa: B006
    rows: list[str] = [],  # noqa: B006
    negatives: list[str] = [],  # noqa: B006
    negative_images: list[str] = [],  # noqa: B006
    k: int = 12,
    offset: int = 0,
    where: str | None = None,
    missing: str = "exclude",
    effort: str = "balanced",
    space: str | None = None,
    rerank: str | None = None,
    diversity: float = 0.0,
    fold_duplicates: bool = False,
    min_score: float | None = None,
    min_zscore: float | None = None,
    sort_by: str | None = None,
    aesthetic: float = 0.0,
    window: int | None = None,
    columns: list[str] = [],  # noqa: B006
    explain: bool = False,
    sheet: str | None = None,
    json: bool = False,
    encoder: str | None = None,
    device: str = "auto",
) -> int:
    """Asks a gallery by texts, pictures, vectors and rows, or a mix; without any, it answers the lines of stdin.

    Args:
        gallery: the gallery's folder.
        text: what to look for, in any language that the encoder knows.
        image: the path of a picture.
        vector: the path of an .npy file with one vector of the space's encoder.
        texts: several texts to be mixed; any part of a mix may end in its weight, as 'a beach^0.5'.
        images: several pictures to be mixed.
        rows: rows of the gallery to be mixed in, by the numbers that hits have.
        negatives: texts of what is not wanted; they weigh 0.5 unless told.
        negative_images: pictures of what is not wanted.
        k: how many hits.
        offset: how many of the first hits to leave out.
        where: a SQL condition over the metadata, as 'width >= 512 AND punsafe < 0.1'.
        missing: rows for which the condition cannot be decided, since a value is missing: exclude or include.
        effort: fast, balanced or exact, or the share of the exact results that is to be found, as 0.98.
        space: search the vectors of another encoder that the gallery has, as dinov2.
        rerank: find by the texts, then order by likeness to the pictures in this other space.
        diversity: 0 to 1; prefer hits that are unlike those before them.
        fold_duplicates: of near-duplicates (see diantu dedup) show only the one that answers best.
        min_score: leave out hits below this score.
        min_zscore: leave out hits below this zscore.
        sort_by: order the nearest rows by a column; --sort-by=-width begins with the widest.
        aesthetic: add this times a tenth of each row's aesthetic score to its score.
        window: how many of the nearest rows --rerank, --diversity, --sort-by and --aesthetic choose from.
        columns: of the metadata, those to give; by default all.
        explain: say how the hits were found.
        sheet: write the hits as a contact sheet, .html or .png.
        json: machine-readable, on stdout.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ...search import Gallery

    opened = Gallery.open(gallery, encoder=encoder, device=device)
    _warn(opened, fold_duplicates)
    options: dict[str, Any] = {
        "k": k, "offset": offset, "where": where, "missing": missing, "effort": effort, "space": space,
        "rerank": rerank, "diversity": diversity, "fold_duplicates": fold_duplicates, "min_score": min_score,
        "min_zscore": min_zscore, "sort_by": sort_by, "aesthetic": aesthetic, "window": window,
        "columns": columns or None,
    }  # fmt: skip

    def answer(query: Query) -> None:
        _show(opened.search(query, **options), explain=explain, sheet=sheet, json=json)

    parts = {
        "text": text,
        "image": image,
        "vector": None if vector is None else _read_vector(vector),
        "texts": [*map(_weighted, texts)],
        "images": [*map(_weighted, images)],
        "rows": [*map(_row, rows)],
        "negatives": [*map(_weighted, negatives), *(_as_path(_weighted(part)) for part in negative_images)],
    }
    if all(part is None or (isinstance(part, list) and not part) for part in parts.values()):
        return _converse(opened, answer)
    answer(_query(parts))
    return 0


def _query(parts: dict[str, Any]) -> Query:
    from ...search import Query

    return Query(**parts)


def _converse(opened: Gallery, answer: Callable[[Query], None]) -> int:
    """Answers line after line, with the model loaded; what cannot be answered is told, and the next line awaited."""
    is_terminal = sys.stdin.isatty()
    if is_terminal:
        log.info(_HOW)
    while True:
        if is_terminal:
            print(_PROMPT, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        asked = line.strip()
        if not line or (is_terminal and not asked):  # the end of a file, or of the conversation
            return 0
        if not asked:
            continue
        try:
            opened.refresh()  # rows may have come since the last line
            answer(_query({"image": asked[1:].strip()} if asked.startswith("@") else {"text": asked}))
        except InputError as error:
            log.error("%s", error)
        sys.stdout.flush()


def _show(hits: Hits, *, explain: bool, sheet: str | None, json: bool) -> None:
    if json:
        print(jsons.dumps(hits.to_json(), ensure_ascii=False))
    else:
        for hit in hits:
            zscore = "" if hit.zscore is None else f"  z {hit.zscore:+5.1f}"
            folded = f"  (+{hit.folded})" if hit.folded else ""
            print(f"{hit.rank:>3}  {hit.score:.3f}{zscore}  {hit.key}{folded}  {hit.caption or ''}")
    if not len(hits):
        log.warning(
            "no row answers%s", f"; the condition leaves {hits.explain['rows']}" if "rows" in hits.explain else ""
        )
    if explain:
        facts = {name: value for name, value in hits.explain.items() if name != "ms"}
        log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
        log.info("%.1f ms: %s", hits.took_ms, ", ".join(f"{name} {ms:.1f}" for name, ms in hits.explain["ms"].items()))
    if sheet:
        log.info("sheet: %s", hits.sheet(sheet))


def _warn(opened: Gallery, fold_duplicates: bool) -> None:
    if not len(opened):
        log.warning("the gallery %s has no rows yet; embed some pictures first", opened.path)
    if fold_duplicates and opened.num_unexamined:
        log.warning(
            "%d rows were added after diantu dedup, whose duplicates are not folded; run it again",
            opened.num_unexamined,
        )


def _weighted(part: str) -> Any:
    """`a beach^0.5` → a part and its weight; without a number behind the last ^ all of it is the part."""
    value, caret, weight = part.rpartition("^")
    try:
        return (value, float(weight)) if caret else part
    except ValueError:
        return part


def _as_path(part: Any) -> Any:
    return (Path(part[0]), part[1]) if isinstance(part, tuple) else Path(part)


def _row(part: str) -> Any:
    value = _weighted(part)
    row, weight = value if isinstance(value, tuple) else (value, 1.0)
    if not row.isdecimal():
        raise InputError(f"the row {part!r} is no number; give the numbers that hits have, as 17 or 17^0.5")
    return int(row), weight


def _read_vector(path: str) -> np.ndarray:
    try:
        return np.squeeze(np.asarray(np.load(Path(path), allow_pickle=False), np.float32))
    except (OSError, TypeError, ValueError, EOFError) as error:
        raise InputError(f"the vector {path} cannot be read ({error}); give an .npy file of one vector") from error
