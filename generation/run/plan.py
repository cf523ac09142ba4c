"""The plan of a run: seed, references and batch of each picture, decided before the first picture is made.

Because of the plan, pictures do not depend on how often a run was stopped or on later changes of the gallery.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

from ...datasets import InputError, PixelsError
from ...datasets.conditions import WHERE_SECONDS, Budget
from ...search import Gallery
from ..copy.copywriting import Brief, Copywriter
from ..references.choose import Choice, ReferenceCandidates, choose, find_candidates, query_of
from ..requests import MAX_SEED, GenerationRequest, named
from ..strategies.base import reference_range
from ..strategies.settings import check_choice
from ..strategies.spec import DraftError, Strategy, unfit
from .planned import Planned

NoReference: TypeAlias = Literal["skip", "text-to-image", "fail"]

_NUM_SHOWN = 3  # pictures that a message about several pictures names


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run chooses references and batches.

    Attributes:
        seed: of the run; pictures whose request has no seed get theirs from it and their prompt.
        batch_size: pictures that are made together, if they have the same size and settings.
        rotate: how far a reference may score below the best one so that other references are used too, as a share of
            the best score: 0.1 allows a tenth less; 0 always takes the best.
        no_reference: what happens to a picture without a reference that is good enough: `skip` leaves it out,
            `text-to-image` makes it from the prompt alone, `fail` refuses the run before it begins.
        max_punsafe: rows with a higher `punsafe` are not used as references, if the gallery has that column; None for
            no limit.
        where_timeout: seconds that a request's condition may take for each million rows; it changes no picture.

    Raises:
        InputError: if a value is not allowed.
    """

    seed: int = 0
    batch_size: int = 4
    rotate: float = 0.1
    no_reference: NoReference = "skip"
    max_punsafe: float | None = 0.5
    where_timeout: float = WHERE_SECONDS

    def __post_init__(self) -> None:
        check_choice("no_reference", self.no_reference, get_args(NoReference))
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"the seed is {self.seed}; give a number from 0 to {MAX_SEED}")
        if self.batch_size < 1:
            raise InputError(f"the batch size is {self.batch_size}; give at least 1")
        if not 0 <= self.rotate <= 1:
            raise InputError(f"rotate is {self.rotate}; give 0 (always the best reference) to 1")
        if self.max_punsafe is not None and not 0 <= self.max_punsafe <= 1:
            raise InputError(f"max_punsafe is {self.max_punsafe}; give 0 to 1, or none for no limit")
        Budget(self.where_timeout)

    def to_json(self) -> dict[str, Any]:
        """What decides about the pictures, as JSON values: a run goes on only with the same."""
        return {name: value for name, value in asdict(self).items() if name != "where_timeout"}


def make_plan(
    requests: Sequence[GenerationRequest],
    strategy: Strategy,
    options: RunOptions,
    *,
    gallery: Gallery | None = None,
    without_reference: Strategy | None = None,
    copywriter: Copywriter | None = None,
) -> list[Planned]:
    """Plans all pictures of the requests, in the order of the requests.

    Args:
        requests: what is asked for.
        strategy: makes the pictures.
        options: how references and batches are chosen.
        gallery: where references are searched.
        without_reference: makes pictures without a reference, for `text-to-image`.
        copywriter: reads the prompts as advertising copy.

    Raises:
        InputError: if a request cannot be used with the gallery or the strategy, or a picture has no reference and
            `options.no_reference` is `fail`.
    """
    _check_settings(requests, strategy, without_reference)
    ks = [_num_references(name, request, strategy) for name, request in named(requests)]
    briefs = [copywriter.brief(it.prompt) if copywriter and it.prompt else None for it in requests]
    asked = [_briefed(request, brief) for request, brief in zip(requests, briefs, strict=True)]
    candidates = find_candidates(
        gallery, asked, ks, max_punsafe=options.max_punsafe, where_timeout=options.where_timeout
    )
    expanded, of_pictures = _expanded(requests, asked, briefs, ks, candidates, options.seed)
    choices = choose(
        [candidate for candidate, _ in of_pictures], [k for _, k in of_pictures], rotate=options.rotate,
        unfit=partial(unfit, strategy),
    )  # fmt: skip
    plan = [
        _decided(picture, choice, candidate, max(strategy.num_references[0], min(k, 1)), options.no_reference)
        for picture, choice, (candidate, k) in zip(expanded, choices, of_pictures, strict=True)
    ]
    if options.no_reference == "fail":
        _refuse_lacking(plan)
    return _in_batches(plan, strategy, without_reference, options.batch_size)


def batches(plan: Sequence[Planned]) -> list[list[Planned]]:
    """Returns the batches of a plan, in the order in which they are made."""
    found: dict[int, list[Planned]] = {}
    for picture in plan:
        if not picture.status:
            found.setdefault(picture.batch, []).append(picture)
    return [found[number] for number in sorted(found)]


def lacks_reference(picture: Planned) -> bool:
    """Returns whether a picture is made without a reference because none was good enough."""
    return not picture.status and bool(picture.reason)


def _check_settings(
    requests: Sequence[GenerationRequest], strategy: Strategy, without_reference: Strategy | None
) -> None:
    """Refuses settings of strategies that are not in the run, because they would have no effect."""
    names = {name for it in (strategy, without_reference) if it is not None for name in it.name.split("+")}
    for name, request in named(requests):
        for other in request.settings:
            if other not in names:
                raise InputError(
                    f"the request {name} changes settings of {other!r}, which is not in this run; its strategies are: "
                    f"{', '.join(sorted(names))}"
                )


def _num_references(name: str, request: GenerationRequest, strategy: Strategy) -> int:
    """Returns the number of references for each picture of a request."""
    fewest, most = strategy.num_references
    given = len(request.rows) + len(request.files)
    k = given or request.k or max(fewest, min(1, most))
    if not fewest <= k <= most:
        raise InputError(
            f"the request {name} has {k} references per picture; {strategy.name} takes {reference_range(fewest, most)}"
        )
    return k


def _briefed(request: GenerationRequest, brief: Brief | None) -> GenerationRequest:
    """Returns a request whose prompt is copy with the queries, prompt and lines of the brief.

    What the request itself says about queries and lines is kept.
    """
    if brief is None:
        return request
    headline, *others = (line.strip() for line in request.prompt.splitlines() if line.strip())
    lines = {} if request.lines else {"headline": headline, "subline": " ".join(others)}
    return replace(request, prompt=brief.prompt, queries=request.queries or brief.queries, **lines)


def _expanded(
    requests: Sequence[GenerationRequest],
    asked: Sequence[GenerationRequest],
    briefs: Sequence[Brief | None],
    ks: Sequence[int],
    candidates: Sequence[ReferenceCandidates],
    run_seed: int,
) -> tuple[list[Planned], list[tuple[ReferenceCandidates, int]]]:
    """Returns the pictures of all requests without references, and for each its candidates and number of references."""
    pictures, of_pictures = [], []
    same_prompts: Counter[str] = Counter()
    for (name, request), it, brief, k, candidate in zip(named(requests), asked, briefs, ks, candidates, strict=True):
        for i in range(request.num_pictures):
            seed = _seed(run_seed, request.prompt, same_prompts[request.prompt])
            same_prompts[request.prompt] += 1
            pictures.append(
                Planned(
                    name=f"{name}-{i + 1}", request=name, written=request.prompt, prompt=it.prompt,
                    negative_prompt=it.negative_prompt, lines=it.lines, settings=it.settings,
                    seed=seed if it.seed is None else (it.seed + i) % (MAX_SEED + 1),
                    keywords=brief.keywords if brief else (), copywriter=brief.source if brief else "",
                    query=query_of(it) if k else (), mask=it.mask,
                )
            )  # fmt: skip
            of_pictures.append((candidate, k))
    return pictures, of_pictures


def _seed(run_seed: int, prompt: str, nth: int) -> int:
    """Returns the seed of the n-th picture of a prompt. It does not depend on other lines of the prompt file."""
    digest = hashlib.sha256(f"{run_seed}\0{nth}\0{prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _decided(
    picture: Planned, choice: Choice, candidate: ReferenceCandidates, fewest: int, no_reference: str
) -> Planned:
    if len(choice.references) >= fewest:
        return replace(picture, references=choice.references)
    reason = choice.reason or f"only {len(choice.references)} of {fewest} references were found"
    if candidate.is_given:  # the request names this reference, so a picture without it is not wanted
        return replace(picture, status="failed", reason=reason)
    return replace(picture, status="" if no_reference == "text-to-image" else "skipped", reason=reason)


def _refuse_lacking(plan: Sequence[Planned]) -> None:
    lacking = [picture for picture in plan if picture.status]
    if lacking:
        shown = "; ".join(f"{picture.name}: {picture.reason}" for picture in lacking[:_NUM_SHOWN])
        more = "" if len(lacking) <= _NUM_SHOWN else "; …"
        raise InputError(
            f"{len(lacking)} of {len(plan)} pictures have no reference that is good enough ({shown}{more}); relax the "
            "conditions on references, or set no_reference to skip or text-to-image"
        )


def _in_batches(
    plan: Sequence[Planned], strategy: Strategy, without_reference: Strategy | None, batch_size: int
) -> list[Planned]:
    """Returns the plan with buckets and batches, numbered in the order of their first pictures."""
    buckets: dict[Hashable, int] = {}
    numbered = []
    for picture in plan:
        if not picture.status:
            is_lacking = lacks_reference(picture)
            made_by = without_reference or strategy if is_lacking else strategy
            try:
                bucket = (is_lacking, _checked_bucket(picture, made_by))
                picture = replace(picture, bucket=buckets.setdefault(bucket, len(buckets)))
            except (DraftError, PixelsError) as error:
                picture = replace(picture, status="failed", reason=str(error))
        numbered.append(picture)
    open_batches: dict[int, tuple[int, int]] = {}  # bucket → number and size of the batch that is not full yet
    num_batches = 0
    for i, picture in enumerate(numbered):
        if picture.status:
            continue
        batch, size = open_batches.get(picture.bucket, (0, batch_size))
        if size == batch_size:
            batch, size, num_batches = num_batches, 0, num_batches + 1
        open_batches[picture.bucket] = (batch, size + 1)
        numbered[i] = replace(picture, batch=batch)
    return numbered


def _checked_bucket(picture: Planned, strategy: Strategy) -> Hashable:
    """Checks a picture and returns its bucket, from the sizes of its references, without their pixels.

    Raises:
        DraftError: if its reference or mask cannot be used; or PixelsError.
        InputError: if its request cannot be used.
    """
    draft = picture.outline()
    try:
        strategy.check(draft)
        return strategy.bucket(draft)
    except DraftError:
        raise
    except InputError as error:
        named_there = picture.name in str(error)
        raise InputError(str(error) if named_there else f"the picture {picture.name}: {error}") from error
