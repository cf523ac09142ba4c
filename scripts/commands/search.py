"""`diantu search`."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets.conditions import WHERE_SECONDS
from ...datasets.errors import InputError
from .common import print_json, print_lines

if TYPE_CHECKING:
    import numpy as np

    from ...search import Gallery, Hit, Hits, Query

log = logging.getLogger(__name__)

_PROMPT = "search> "
_HELP = "enter a text, or @image.jpg for an image; an empty line ends"


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
    where_timeout: float = WHERE_SECONDS,
    effort: str = "balanced",
    space: str | None = None,
    over: str = "images",
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
    json_: bool = False,
    encoder: str | None = None,
    device: str = "auto",
    runtime: str = "auto",
) -> int:
    """Searches a gallery by texts, images, vectors and rows, or a mix; without any, it reads queries from stdin.

    Args:
        gallery: the gallery's folder.
        text: what to search for, in any language that the encoder knows.
        image: the path of an image.
        vector: the path of an .npy file with one vector of the space's encoder.
        texts: several texts. Any term of a mixed query may end in its weight: 'a beach^0.5'; else its weight is 1.
        images: several images.
        rows: rows of the gallery, by the row numbers of hits.
        negatives: texts to search away from; their weight is 0.5 unless given.
        negative_images: images to search away from.
        k: number of hits.
        offset: number of hits to skip at the start.
        where: search only the rows that match this SQL condition over the metadata, for example 'width >= 512 AND
            punsafe < 0.1'.
        missing: exclude or include rows for which the condition cannot be decided, because a value is missing.
        where_timeout: seconds that --where may take for each million rows.
        effort: fast, balanced or exact, or the target recall, for example 0.98.
        space: search the vectors of another encoder of the gallery, for example dinov2.
        over: compare with the images, or with their captions where the gallery has vectors of them.
        rerank: search by the texts, then sort the hits by their similarity to the images in this other space.
        diversity: from 0 to 1; prefer hits that differ from those before them.
        fold_duplicates: of near-duplicates (see diantu dedup) show only the best hit.
        min_score: drop hits with a lower score.
        min_zscore: drop hits with a lower zscore.
        sort_by: sort the nearest rows by a column; --sort-by=-width starts with the widest.
        aesthetic: add this factor times a tenth of a row's aesthetic score to its score.
        window: number of nearest rows that --rerank, --diversity, --sort-by and --aesthetic select from.
        columns: metadata columns to return; by default all.
        explain: print how the hits were found.
        sheet: write the hits as a contact sheet to this file, .html or .png.
        json_: print the hits as JSON on stdout.
        encoder: the gallery's encoder, if its weights have moved since the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
        runtime: what computes the vectors of images: torch, compiled, onnxruntime, openvino, tensorrt, or auto: torch,
            unless diantu bench-encoder has measured that another one is faster here.
    """
    from ...indexing.encoders import as_runtime
    from ...search import Gallery

    opened = Gallery.open(gallery, encoder=encoder, device=device, runtime=as_runtime(runtime))
    _warn(opened, fold_duplicates)
    options: dict[str, Any] = {
        "k": k, "offset": offset, "where": where, "missing": missing, "where_timeout": where_timeout,
        "effort": effort, "space": space, "over": over, "rerank": rerank, "diversity": diversity,
        "fold_duplicates": fold_duplicates, "min_score": min_score, "min_zscore": min_zscore, "sort_by": sort_by,
        "aesthetic": aesthetic, "window": window, "columns": columns or None,
    }  # fmt: skip

    def answer(query: Query) -> None:
        _show(opened.search(query, **options), explain=explain, sheet=sheet, as_json=json_)

    terms = {
        "text": text,
        "image": image,
        "vector": None if vector is None else _read_vector(vector),
        "texts": [*map(_weighted, texts)],
        "images": [*map(_weighted, images)],
        "rows": [*map(_row, rows)],
        "negatives": [*map(_weighted, negatives), *(_as_path(_weighted(term)) for term in negative_images)],
    }
    if all(term is None or (isinstance(term, list) and not term) for term in terms.values()):
        return _answer_lines(opened, answer)
    answer(_query(terms))
    return 0


def _query(terms: Mapping[str, Any]) -> Query:
    from ...search import Query

    return Query(**terms)


def _answer_lines(opened: Gallery, answer: Callable[[Query], None]) -> int:
    """Answers the lines of stdin one by one, with the model loaded; a line with an error is reported and skipped."""
    is_terminal = sys.stdin.isatty()
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # one bad byte must not end the session
    if is_terminal:
        log.info(_HELP)
    while True:
        if is_terminal:
            print(_PROMPT, end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        asked = line.strip().removeprefix("\ufeff")  # PowerShell writes a mark into a pipe
        if not line or (is_terminal and not asked):  # the end of the file, or an empty line in a terminal
            return 0
        if not asked:
            continue
        try:
            opened.refresh()  # rows may have been added after the last line
            answer(_query({"image": asked[1:].strip()} if asked.startswith("@") else {"text": asked}))
        except InputError as error:
            log.error("%s", error)
        sys.stdout.flush()


def _show(hits: Hits, *, explain: bool, sheet: str | None, as_json: bool) -> None:
    if as_json:
        print_json(hits.to_json())
    else:
        print_lines(map(_line, hits))
    if not len(hits):
        matching = f"; {hits.explain['rows']} rows match the condition" if "rows" in hits.explain else ""
        log.warning("no results%s", matching)
    if explain:
        facts = {name: value for name, value in hits.explain.items() if name != "ms"}
        log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
        log.info("%.1f ms: %s", hits.took_ms, ", ".join(f"{name} {ms:.1f}" for name, ms in hits.explain["ms"].items()))
    if sheet:
        log.info("sheet: %s", hits.sheet(sheet))


def _line(hit: Hit) -> str:
    zscore = "" if hit.zscore is None else f"  z {hit.zscore:+5.1f}"
    folded = f"  (+{hit.folded})" if hit.folded else ""
    return f"{hit.rank:>3}  {hit.score:.3f}{zscore}  {hit.key}{folded}  {hit.caption or ''}"


def _warn(opened: Gallery, fold_duplicates: bool) -> None:
    if not len(opened):
        log.warning("the gallery %s has no rows yet; embed some images first", opened.path)
    if fold_duplicates and opened.num_unexamined:
        log.warning(
            "%d rows were added after the last diantu dedup, so their duplicates are not folded; run it again",
            opened.num_unexamined,
        )


def _weighted(term: str) -> Any:
    """`a beach^0.5` → a term and its weight; if no number follows the last ^, all of it is the term."""
    value, caret, weight = term.rpartition("^")
    try:
        return (value, float(weight)) if caret else term
    except ValueError:
        return term


def _as_path(term: Any) -> Any:
    return (Path(term[0]), term[1]) if isinstance(term, tuple) else Path(term)


def _row(term: str) -> Any:
    value = _weighted(term)
    row, weight = value if isinstance(value, tuple) else (value, 1.0)
    if not row.isdecimal():
        raise InputError(f"the row {term!r} is not a number; give the row number of a hit, for example 17 or 17^0.5")
    return int(row), weight


def _read_vector(path: str) -> np.ndarray:
    import numpy as np

    from ...indexing.store.npy import read_array

    try:
        with Path(path).open("rb") as file:
            return np.squeeze(read_array(file).astype(np.float32))
    except (OSError, ValueError) as error:
        raise InputError(f"the vector {path} cannot be read ({error}); give an .npy file of one vector") from error
