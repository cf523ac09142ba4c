"""What clip-retrieval's back end does with a request (github.com/rom1504/clip-retrieval, release 2.45), over a gallery.

Where the two differ: images that a client may show lie in the service, so a row without a URL of its own gets that of
its image here; unsafe rows are left out before the search, so that as many results remain as were asked for; the
aesthetic score moves results by the column `aesthetic`, not by vectors that belong to one encoder.
"""

from __future__ import annotations

import base64
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...datasets.errors import PixelsError, RowError
from ...datasets.values import jsonable
from ..hits import named_beside
from ..query import Query
from .context import Context
from .images import thumbnail
from .metrics import Metrics
from .models.compatible import KnnRequest
from .problems import ProblemError
from .queries import image_bytes
from .served import Opened

# Images whose vectors have this inner product or more are one image.
_SAME = 0.94
# Whatever type the column has: rows that do not say how unsafe they are stay.
_SAFE = "TRY_CAST(punsafe AS DOUBLE) <= 0.5"
_AESTHETIC_WEIGHT = 0.5
_OWN = ("id", "similarity", "image")
_PIXELS = 256  # width and height of the image that a result carries
_COMPARED = 1024  # vectors that are compared with all others at a time


def query_of(asked: KnnRequest, opened: Opened, context: Context, host: str) -> Query:
    """What a request searches for: the first of its text, image, URL and vector.

    Raises:
        ProblemError: 400 if it has none of them, or as `queries.image_bytes`.
        InputError: if an image cannot be used.
    """
    if asked.text:
        return Query(text=asked.text)
    if image := asked.image or asked.image_url:
        return Query(image=context.decoded(image_bytes(image, opened, context, host)))
    if asked.embedding_input is not None:
        return Query(vector=np.array(asked.embedding_input, np.float32))
    raise ProblemError(400, "the request has no text, image, image_url or embedding_input; give one of them")


def results_of(
    asked: KnnRequest, query: Query, opened: Opened, context: Context, base_url: str
) -> list[dict[str, Any]]:
    """The results of a search, best first: `id`, `similarity`, and metadata for the first ones.

    Args:
        asked: the request.
        query: what it searches for.
        opened: the gallery.
        context: of the service.
        base_url: of the service, for the URLs of images.

    Raises:
        InputError: if the query cannot be used.
    """
    over = "captions" if asked.modality == "text" else "images"
    k = max(asked.num_images, 1) if asked.num_result_ids is None else asked.num_result_ids
    nearest = opened.gallery.nearest(query, k=k, over=over, **_options(asked, opened, k))
    rows_K, scores_K = nearest.rows_K, nearest.scores_K
    if asked.deduplicate and len(rows_K):
        kept = _first_of_each(opened.gallery.vectors(rows_K, over=over))
        rows_K, scores_K = rows_K[kept], scores_K[kept]
    rows = rows_K.tolist()
    began = time.perf_counter()
    metadata = metadata_of(rows[: asked.num_images], opened, context, base_url)
    context.metrics.observe_search({**nearest.explain["ms"], "metadata": 1000 * (time.perf_counter() - began)})
    return [
        {**(metadata[i] if i < len(metadata) else {}), "id": row, "similarity": score}
        for i, (row, score) in enumerate(zip(rows, scores_K.tolist(), strict=True))
    ]


def ignored(asked: KnnRequest, opened: Opened) -> list[str]:
    """The fields of a request that change nothing, because the gallery or the service has nothing for them."""
    columns = _columns(opened)
    is_ignored = {
        "use_mclip": asked.use_mclip,
        "use_violence_detector": asked.use_violence_detector,
        "use_safety_model": asked.use_safety_model and "punsafe" not in columns,
        "aesthetic_score": _number(asked.aesthetic_score) is not None and "aesthetic" not in columns,
    }
    return [name for name, value in is_ignored.items() if value]


def is_deleted(row: int, opened: Opened) -> bool:
    """Whether a row was deleted.

    Raises:
        RowError: if there never was such a row.
    """
    try:
        opened.gallery.check_rows([row])
    except RowError as error:
        if error.was_deleted:
            return True
        raise
    return False


def metadata_of(rows: Sequence[int], opened: Opened, context: Context, base_url: str) -> list[dict[str, Any]]:
    """The metadata of rows without empty fields. A row without a URL gets that of its image here, and a small image."""
    records = opened.gallery.rows(rows)
    return [
        _metadata(row, part, record, opened, context, base_url)
        for row, part, record in zip(rows, opened.parts(rows), records, strict=True)
    ]


def _metadata(
    row: int, part: str, record: Mapping[str, Any], opened: Opened, context: Context, base_url: str
) -> dict[str, Any]:
    found = {name: jsonable(value) for name, value in named_beside(_OWN, record.items()).items() if value is not None}
    if not found.get("url") and (record["shard"] or record["image_path"]):
        named = urllib.parse.urlencode({"gallery": opened.name, "part": part})
        found["url"] = f"{base_url}v1/rows/{row}/image?{named}"
        try:
            found["image"] = base64.b64encode(thumbnail(context, opened, row, _PIXELS, record)).decode()
        except PixelsError:  # the row is a result all the same; its URL says what the matter is
            del found["url"]
    return found


def summary(metrics: Metrics) -> str:
    """How many searches there were, how long they took, and in which steps, as a table for people."""
    count, seconds = metrics.total("diantu_request_seconds", route="/knn-service")
    if not count:
        return "There were no requests yet.\n"
    steps = []
    for name, about in metrics.steps().items():
        calls, total = metrics.total(name)
        steps.append((total / max(calls, 1), name, about, calls))
    mean = seconds / count
    lines = [f"{count} calls of the knn end point took {mean:.4f}s on average. The steps of all searches:\n"]
    lines += [f"{'name':<28}{'description':<36}{'calls':>8}{'average':>12}{'proportion':>12}"]
    lines += [
        f"{name:<28}{about:<36}{calls:>8}{average:>11.4f}s{100 * average / mean:>11.1f}%"
        for average, name, about, calls in sorted(steps, reverse=True)
    ]
    return "\n".join(lines) + "\n"


def _options(asked: KnnRequest, opened: Opened, k: int) -> dict[str, Any]:
    columns, options = _columns(opened), {}
    if asked.use_safety_model and "punsafe" in columns:
        options |= {"where": _SAFE, "missing": "include"}
    weight = _number(asked.aesthetic_weight)
    strength = (_AESTHETIC_WEIGHT if weight is None else weight) * (_number(asked.aesthetic_score) or 0) / 10
    if strength and "aesthetic" in columns:
        options |= {"aesthetic": strength, "window": k}
    return options


def _number(value: float | str | None) -> float | None:
    """A number that is given as such or as text; None for an empty text."""
    return None if value is None or value == "" else float(value)


def _columns(opened: Opened) -> set[str]:
    return {name.lower() for name in opened.gallery.columns}


def _first_of_each(emb_KD: np.ndarray) -> np.ndarray:
    """The positions of the results that remain: of images that are linked by similar ones, the first."""
    count = len(emb_KD)
    similar = np.concatenate(
        [np.packbits(emb_KD[at : at + _COMPARED] @ emb_KD.T >= _SAME, axis=1) for at in range(0, count, _COMPARED)]
    )
    first, is_seen_K = [], np.zeros(count, bool)
    for place in range(count):
        if is_seen_K[place]:
            continue
        first.append(place)
        is_seen_K[place] = True
        reached = [place]
        while reached:
            further = np.flatnonzero(np.unpackbits(similar[reached.pop()], count=count) & ~is_seen_K)
            is_seen_K[further] = True
            reached += further.tolist()
    return np.array(first, np.int64)
