"""Chooses references that are good enough, allowed and readable, and rotates them between prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ...datasets import InputError
from ...datasets.conditions import WHERE_SECONDS, locked_duckdb, understood
from ...datasets.names import CREDITS
from ...indexing.encoders.spec import says_nothing
from ...search import Gallery, Query
from ..requests import GenerationRequest, WeightedText
from ..strategies.sizes import Size
from .reference import Reference, of_file, of_row

_POOL = 48  # candidates per prompt, among which a run rotates
_TOGETHER = 256  # queries that are searched together
_THREADS = 4  # that read references
# A missing value, also NaN, is not above any limit.
_SAFE = "coalesce(nullif(TRY_CAST(punsafe AS DOUBLE), 'nan'::DOUBLE), 0) <= {limit!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCandidates:
    """The candidates for the references of a request.

    Attributes:
        found: the best one first.
        reason: why there are none.
        is_given: whether the request names its references itself; then all of them are taken.
    """

    found: tuple[Reference, ...] = ()
    reason: str = ""
    is_given: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The references of one picture, readable and with their sizes; if there are none, `reason` says why."""

    references: tuple[Reference, ...] = ()
    reason: str = ""


def find_candidates(
    gallery: Gallery | None,
    requests: Sequence[GenerationRequest],
    ks: Sequence[int],
    *,
    max_punsafe: float | None,
    where_timeout: float = WHERE_SECONDS,
) -> list[ReferenceCandidates]:
    """Returns the candidates for the references of each request; searches all requests together.

    Rows whose `punsafe` is above the limit are left out, unless a request names them. If the gallery knows its
    near-duplicates, only one of each group is found.

    Args:
        gallery: where to search; not needed if all requests name files only.
        requests: what is asked for.
        ks: references per picture, for each request; for 0, nothing is searched.
        max_punsafe: the limit; None for no limit.
        where_timeout: seconds that a condition may take for each million rows.

    Raises:
        InputError: if there is no gallery, or it cannot answer a request.
    """
    candidates: list[ReferenceCandidates] = [ReferenceCandidates()] * len(requests)
    together: dict[tuple[Any, ...], list[int]] = {}
    for i, (request, k) in enumerate(zip(requests, ks, strict=True)):
        if request.rows or request.files:
            candidates[i] = ReferenceCandidates(found=_given(gallery, request), is_given=True)
        elif k:
            pool = max(_POOL, k * request.num_pictures)
            key = (request.where, request.diversity, request.min_zscore, request.min_score, pool)
            together.setdefault(key, []).append(i)
    for key, places in together.items():
        where, diversity, min_zscore, min_score, pool = key
        searched = _needed(gallery)
        options = {
            "where": _condition(searched, where, max_punsafe), "where_timeout": where_timeout, "diversity": diversity,
            "fold_duplicates": searched.duplicates is not None, "columns": _columns(searched),
        }  # fmt: skip
        limits = {"min_zscore": min_zscore, "min_score": min_score}
        for i in places:
            if (unknown := _unknown(searched, requests[i])) is not None:
                candidates[i] = ReferenceCandidates(
                    reason=f"the text {unknown!r} has nothing that the encoder {searched.spec.name} knows"
                )
        places = [i for i in places if not candidates[i].reason]
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            queries = [Query(texts=query_of(requests[i])) for i in some]
            for i, query, hits in zip(
                some, queries, searched.search_many(queries, k=pool, **options, **limits), strict=True
            ):
                reason = "" if hits else _why_none(searched, query, options, limits, where)
                found = [of_row(hit.row, hit.metadata, score=hit.score, zscore=hit.zscore) for hit in hits]
                candidates[i] = ReferenceCandidates(found=tuple(found), reason=reason)
    return candidates


def _unknown(gallery: Gallery, request: GenerationRequest) -> str | None:
    """Returns a text of a request's query that says nothing to the gallery's encoder; None if there is none."""
    texts = (text if isinstance(text, str) else text[0] for text in query_of(request))
    return next((text for text in texts if says_nothing(gallery.encoder, text)), None)


def query_of(request: GenerationRequest) -> tuple[WeightedText, ...]:
    """Returns the texts that the references of a request are searched by; () if the request names its references."""
    if request.rows or request.files:
        return ()
    return tuple(request.queries) or (request.prompt,)


def choose(
    candidates: Sequence[ReferenceCandidates], ks: Sequence[int], *, rotate: float, unfit: Callable[[Size], str]
) -> list[Choice]:
    """Chooses the references of each picture, in the order of the pictures.

    Each place of a picture takes the candidate that earlier pictures used least, among the candidates that score at
    most the share `rotate` below the best remaining one; of equals, the better one. The choice is deterministic, and
    `rotate=0` always takes the best. Candidates that cannot be read or used are left out.

    Args:
        candidates: for each picture, those of its request.
        ks: references for each picture; fewer are chosen if there are not enough candidates.
        rotate: 0 to 1.
        unfit: takes width and height; says why an image of this size cannot be used, or nothing.
    """
    read: dict[Any, Reference | str] = {}  # by identity: with its size, or why it cannot be read
    with ThreadPoolExecutor(_THREADS, "references") as pool:
        while True:
            picks = _rotated(candidates, ks, rotate, {identity for identity, it in read.items() if isinstance(it, str)})
            new = {reference.identity: reference for pick in picks for reference in pick}
            new = {identity: reference for identity, reference in new.items() if identity not in read}
            if not new:
                break
            read.update(zip(new, pool.map(partial(_read, unfit), new.values()), strict=True))
    return [_choice(candidate, pick, read) for candidate, pick in zip(candidates, picks, strict=True)]


def _needed(gallery: Gallery | None) -> Gallery:
    if gallery is None:
        raise InputError("there is no gallery to search for references; give a gallery, or give files in each request")
    return gallery


def _given(gallery: Gallery | None, request: GenerationRequest) -> tuple[Reference, ...]:
    """Returns the references that a request names."""
    files = [of_file(file) for file in request.files]
    if not request.rows:
        return tuple(files)
    records = _needed(gallery).rows(request.rows)
    rows = [of_row(row, record) for row, record in zip(request.rows, records, strict=True)]
    return (*rows, *files)


def _columns(gallery: Gallery) -> list[str]:
    wanted = {name for names in CREDITS.values() for name in names}
    return [name for name in gallery.columns if name.lower() in wanted]


def _condition(gallery: Gallery, where: str | None, max_punsafe: float | None) -> str | None:
    """Returns the condition of the request with the limit of `punsafe`, if the gallery has that column."""
    columns = gallery.columns
    if max_punsafe is None or "punsafe" not in map(str.lower, columns):
        return where
    safe = _SAFE.format(limit=float(max_punsafe))
    if where is None:
        return safe
    # Parse the condition alone first, so that unbalanced parentheses in it cannot bypass the limit.
    understood(locked_duckdb(), where, columns, owner="the gallery's rows")
    return f"({where}\n) AND {safe}"


def _why_none(
    gallery: Gallery, query: Query, options: Mapping[str, Any], limits: Mapping[str, Any], where: str | None
) -> str:
    """Returns the reason why a search had no hits."""
    best = gallery.search(query, k=1, **options) if any(limit is not None for limit in limits.values()) else ()
    if not best:
        return f"no row of the gallery meets {where}" if where else "no row of the gallery may be used as a reference"
    hit = best[0]
    zscore = "" if hit.zscore is None else f" (z {hit.zscore:+.1f})"
    asked = " and ".join(f"{name} {limit:g}" for name, limit in limits.items() if limit is not None)
    return f"the nearest row, {hit.key}, scores {hit.score:.3f}{zscore}, which is below {asked}"


def _read(unfit: Callable[[Size], str], reference: Reference) -> Reference | str:
    try:
        measured = reference.measured()
    except FileNotFoundError as error:
        return str(error)
    reason = unfit(measured.size)
    return f"{reference.key} {reason}" if reason else measured


def _rotated(
    candidates: Sequence[ReferenceCandidates], ks: Sequence[int], rotate: float, gone: set[Any]
) -> list[list[Reference]]:
    uses: Counter[Any] = Counter()
    picks = []
    for candidate, k in zip(candidates, ks, strict=True):
        if candidate.is_given:
            picks.append(list(candidate.found))
            continue
        left = [reference for reference in candidate.found if reference.identity not in gone]
        pick = []
        while left and len(pick) < k:
            best = left[0].score or 0.0
            floor = best - rotate * abs(best)
            good = [r for r in left if (r.score or 0.0) >= floor] if rotate else left[:1]
            taken = min(good, key=lambda reference: uses[reference.identity])  # min returns the first of equals
            left.remove(taken)
            uses[taken.identity] += 1
            pick.append(taken)
        picks.append(pick)
    return picks


def _choice(candidate: ReferenceCandidates, pick: Sequence[Reference], read: Mapping[Any, Reference | str]) -> Choice:
    found = [read[reference.identity] for reference in pick]
    problems = [it for it in found if isinstance(it, str)]
    if problems:
        return Choice(reason=problems[0])
    if not found and candidate.found:
        first = read[candidate.found[0].identity]
        return Choice(reason=f"none of the {len(candidate.found)} references found can be used: {first}")
    references = [
        replace(reference, sha256=it.sha256, size=it.size)
        for reference, it in zip(pick, found, strict=True)
        if isinstance(it, Reference)
    ]
    return Choice(references=tuple(references), reason=candidate.reason)
