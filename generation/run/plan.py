"""A run's plan: every picture with its seed, references and batch, decided before the first one is made.

So pictures do not depend on how often a run was stopped, nor on what became of the gallery in the meantime.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from ...datasets import InputError
from ...search import Gallery
from ..copy.copywriting import Brief, Copywriter
from ..references.choose import Candidates, Choice, choose, find_candidates, query_of
from ..requests import MAX_SEED, GenerationRequest, named
from ..strategies.spec import Strategy
from .planned import Planned

NO_REFERENCE = ("skip", "text-to-image", "fail")
_NUM_SHOWN = 3  # pictures that a sentence about several names


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a run chooses and goes on.

    Attributes:
        seed: of the run: pictures whose request has none get theirs from it and their prompt.
        batch_size: pictures that are made together, if they have the same size and settings.
        rotate: how much worse than the best one a reference may score so that others are used, too: 0.1 is a tenth of
            its score; 0 always takes the best.
        no_reference: what becomes of a picture that has no reference good enough: `skip` leaves it out, `text-to-image`
            makes it from the prompt alone, `fail` refuses the run before it begins.
        max_punsafe: rows with a higher `punsafe` are no references, where the gallery has that column; None for all.

    Raises:
        InputError: if a value is not allowed.
    """

    seed: int = 0
    batch_size: int = 4
    rotate: float = 0.1
    no_reference: str = "skip"
    max_punsafe: float | None = 0.5

    def __post_init__(self) -> None:
        if self.no_reference not in NO_REFERENCE:
            raise InputError(f"no_reference {self.no_reference!r} is not known; give one of: {', '.join(NO_REFERENCE)}")
        if not 0 <= self.seed <= MAX_SEED:
            raise InputError(f"the seed is {self.seed}; give a number from 0 to {MAX_SEED}")
        if self.batch_size < 1:
            raise InputError(f"the batch size is {self.batch_size}; give at least 1")
        if not 0 <= self.rotate <= 1:
            raise InputError(f"rotate is {self.rotate}; give 0 (always the best reference) to 1")
        if self.max_punsafe is not None and not 0 <= self.max_punsafe <= 1:
            raise InputError(f"max_punsafe is {self.max_punsafe}; give 0 to 1, or none for no limit")


def make_plan(
    requests: Sequence[GenerationRequest],
    strategy: Strategy,
    options: RunOptions,
    *,
    gallery: Gallery | None = None,
    without_reference: Strategy | None = None,
    copywriter: Copywriter | None = None,
) -> list[Planned]:
    """Decides every picture of some requests, in their order.

    Args:
        requests: what is asked for.
        strategy: what will make the pictures.
        options: how references and batches are chosen.
        gallery: where references are searched.
        without_reference: what makes those that have none good enough, for `text-to-image`.
        copywriter: reads the prompts as advertising copy.

    Raises:
        InputError: if a request cannot be used with the gallery or the strategy, or a picture has no reference and
            `options.no_reference` is `fail`.
    """
    _check_settings(requests, strategy, without_reference)
    ks = [_num_references(name, request, strategy) for name, request in named(requests)]
    briefs = [copywriter.brief(it.prompt) if copywriter and it.prompt else None for it in requests]
    asked = [_briefed(request, brief) for request, brief in zip(requests, briefs, strict=True)]
    candidates = find_candidates(gallery, asked, ks, max_punsafe=options.max_punsafe)
    expanded, of_pictures = _expanded(requests, asked, briefs, ks, candidates, options.seed)
    choices = choose([candidate for candidate, _ in of_pictures], [k for _, k in of_pictures], rotate=options.rotate)
    plan = [
        _decided(picture, choice, candidate, max(strategy.num_references[0], min(k, 1)), options.no_reference)
        for picture, choice, (candidate, k) in zip(expanded, choices, of_pictures, strict=True)
    ]
    if options.no_reference == "fail":
        _refuse_lacking(plan)
    return _in_batches(plan, strategy, without_reference, options.batch_size)


def batches(plan: Sequence[Planned]) -> list[list[Planned]]:
    """The pictures that are made together, in the order in which they are made."""
    found: dict[int, list[Planned]] = {}
    for picture in plan:
        if not picture.status:
            found.setdefault(picture.batch, []).append(picture)
    return [found[number] for number in sorted(found)]


def lacks_reference(picture: Planned) -> bool:
    """Whether it is made without a reference since none was good enough."""
    return not picture.status and bool(picture.reason)


def _check_settings(
    requests: Sequence[GenerationRequest], strategy: Strategy, without_reference: Strategy | None
) -> None:
    """A request cannot change what is not in the run: that would have no effect."""
    names = {name for it in (strategy, without_reference) if it is not None for name in it.name.split("+")}
    for name, request in named(requests):
        for other in request.settings:
            if other not in names:
                raise InputError(
                    f"the request {name} changes settings of {other!r}, which is not in this run; its strategies are: "
                    f"{', '.join(sorted(names))}"
                )


def _num_references(name: str, request: GenerationRequest, strategy: Strategy) -> int:
    """How many references each picture of a request is to have."""
    fewest, most = strategy.num_references
    given = len(request.rows) + len(request.files)
    k = given or request.k or max(fewest, min(1, most))
    if not fewest <= k <= most:
        allowed = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise InputError(f"the request {name} has {k} references a picture; {strategy.name} takes {allowed or 'none'}")
    return k


def _briefed(request: GenerationRequest, brief: Brief | None) -> GenerationRequest:
    """A request whose prompt was copy: that is searched for and set on the picture, unless it says otherwise itself."""
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
    candidates: Sequence[Candidates],
    run_seed: int,
) -> tuple[list[Planned], list[tuple[Candidates, int]]]:
    """The pictures of all requests without their references; of each its candidates, and how many it is to have."""
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
    """Of the n-th picture of a prompt: other lines of a file of prompts may come and go."""
    digest = hashlib.sha256(f"{run_seed}\0{nth}\0{prompt}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _decided(picture: Planned, choice: Choice, candidate: Candidates, fewest: int, no_reference: str) -> Planned:
    if len(choice.references) >= fewest:
        return replace(picture, references=choice.references)
    reason = choice.reason or f"only {len(choice.references)} of {fewest} references were found"
    if candidate.is_given:  # that one was asked for: a picture without it is not what is wanted
        return replace(picture, status="failed", reason=reason)
    return replace(picture, status="" if no_reference == "text-to-image" else "skipped", reason=reason)


def _refuse_lacking(plan: Sequence[Planned]) -> None:
    lacking = [picture for picture in plan if picture.status]
    if lacking:
        shown = "; ".join(f"{picture.name}: {picture.reason}" for picture in lacking[:_NUM_SHOWN])
        more = "" if len(lacking) <= _NUM_SHOWN else "; …"
        raise InputError(
            f"{len(lacking)} of {len(plan)} pictures have no reference good enough ({shown}{more}); change what is "
            "asked of references, or no_reference to skip or text-to-image"
        )


def _in_batches(
    plan: Sequence[Planned], strategy: Strategy, without_reference: Strategy | None, batch_size: int
) -> list[Planned]:
    """The plan with buckets and batches, which follow each other as their first pictures do."""
    buckets: dict[Hashable, int] = {}
    numbered = []
    for picture in plan:
        if not picture.status:
            is_lacking = lacks_reference(picture)
            made_by = without_reference or strategy if is_lacking else strategy
            bucket = (is_lacking, _checked_bucket(picture, made_by))
            picture = replace(picture, bucket=buckets.setdefault(bucket, len(buckets)))
        numbered.append(picture)
    open_batches: dict[int, tuple[int, int]] = {}  # bucket → the batch that is being filled, and its size
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
    """What a strategy says of a picture by the sizes of its references, without their pixels."""
    draft = picture.outline()
    try:
        strategy.check(draft)
        return strategy.bucket(draft)
    except InputError as error:
        named_there = picture.name in str(error)
        raise InputError(str(error) if named_there else f"the picture {picture.name}: {error}") from error
