"""A run: requests in, pictures out. A finished picture is not made again, and a job may be stopped at any time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from ...datasets import InputError
from ...datasets.files import exclusive
from ...indexing.store.snapshot import gallery_version
from ...search import Gallery
from ..copy.copywriting import Copywriter
from ..requests import GenerationRequest, named
from ..strategies.spec import Draft, Made, Strategy
from .folder import LOCK, changed_versions, open_plan, write_plan
from .journal import Journal, Row, Status
from .making import BatchMaker, read_ahead
from .pages import write_pages
from .plan import RunOptions, batches, lacks_reference, make_plan
from .planned import Planned
from .results import GenerationResult, Results
from .writer import Writer

log = logging.getLogger(__name__)

# Takes a picture and returns the reason why it is not kept; None to keep it.
Checker = Callable[[Image.Image], "str | None"]

_AHEAD = 2  # batches whose references are read ahead, or whose pictures wait to be written
_THREADS = 4  # that read references
_BLACK = 8  # a picture without a brighter value is black, as when half precision overflows
_FINAL: tuple[Status, ...] = ("done", "skipped", "refused")  # what another job does not try again


def generate(
    requests: Sequence[GenerationRequest | str],
    output: str | Path,
    strategy: Strategy,
    *,
    gallery: Gallery | None = None,
    options: RunOptions | None = None,
    without_reference: Strategy | None = None,
    copywriter: Copywriter | None = None,
    checker: Checker | None = None,
    show_progress: bool = False,
) -> Results:
    """Makes the pictures of requests in a folder. The same call again goes on where it stopped.

    The first job writes a plan with references, seeds and batches. Later jobs follow it, so that they end with the same
    files as a job that was never stopped; they retry pictures that failed. The folder then holds `pictures/`,
    `manifest.jsonl` (one row per picture), `index.html`, `sheet.png`, `requests.jsonl`, `plan.jsonl` and `run.json`.

    >>> from diantu.generation import GenerationRequest, generate, load_strategies
    >>> from diantu.search import Gallery
    >>> strategy = load_strategies(["stylize", "overlay"], {"stylize": {"strength": 0.5, "size": 256}})
    >>> asked = [GenerationRequest(prompt="大熊猫", headline="周末，去看大熊猫")]
    >>> results = generate(asked, "pandas", strategy, gallery=Gallery.open("diantu-demo/gallery"))
    >>> results[0].status, results[0].references[0].key, results[0].image().mode
    ('done', 'animal_panda', 'RGB')

    Args:
        requests: what is asked for; a text is a request with this prompt.
        output: the folder: a new one, or that of the same run.
        strategy: makes the pictures; see `load_strategies`.
        gallery: where references are searched; not needed if all requests name files, or no references are used.
        options: how references and batches are chosen.
        without_reference: makes the pictures for which no reference is good enough; needed with the option
            `text-to-image`, unless `strategy` works without references.
        copywriter: reads the prompts as advertising copy. The run searches for its keywords, the prompt for the model
            is made from them, and the copy is drawn on the picture unless the request has a headline.
        checker: is called with each picture. If it returns a reason, the picture is not kept and gets the status
            `refused`.
        show_progress: whether to show one progress bar on stderr.

    Raises:
        InputError: if an argument cannot be used, the folder holds another run, or another job works in it.
    """
    asked = [GenerationRequest(prompt=it) if isinstance(it, str) else it for it in requests]
    if not asked:
        raise InputError("there are no requests; give at least one")
    options = options or RunOptions()
    if options.no_reference == "text-to-image" and without_reference is None and strategy.num_references[0] > 0:
        raise InputError(
            f"{strategy.name} needs a reference, so it cannot do text-to-image; give without_reference a strategy that "
            "works from prompts alone, or set no_reference to skip or fail"
        )
    root = Path(output)
    with exclusive(root, LOCK):
        job = _GenerationJob(root, asked, (strategy, without_reference), options, gallery, copywriter)
        started = time.perf_counter()
        num_made, num_before = job.make(checker, show_progress)
        results = job.results(num_made, num_before, time.perf_counter() - started)
        write_pages(root, results)
    return results


class _GenerationJob:
    """One job in the folder of a run. The caller holds its lock."""

    def __init__(
        self,
        root: Path,
        requests: Sequence[GenerationRequest],
        strategies: tuple[Strategy, Strategy | None],
        options: RunOptions,
        gallery: Gallery | None,
        copywriter: Copywriter | None,
    ) -> None:
        strategy, without_reference = strategies
        self._root = root
        self._requests = dict(named(requests))
        self._strategies = (strategy, without_reference or strategy)
        self._described = [each.describe() for each in self._strategies]
        config = {"strategy": self._described[0], "options": options.to_json(), "copy": copywriter is not None}
        if without_reference is not None:
            config["without_reference"] = self._described[1]
        opened = open_plan(root, requests, config)
        if opened is None:
            self._plan = make_plan(
                requests, strategy, options, gallery=gallery, without_reference=without_reference, copywriter=copywriter
            )
            facts = {"diantu": version("diantu"), "gallery": _gallery_facts(gallery)}
            noted = write_plan(root, requests, config, self._plan, facts)
            _log_plan(self._plan)
        else:
            self._plan, noted = opened
            if changed := changed_versions(noted["config"], config):
                log.warning(
                    "the run was planned with other versions, so pictures may differ slightly: %s", ", ".join(changed)
                )
        self._gallery_version = (noted["gallery"] or {}).get("version")
        self._journal = Journal(root)
        self._maker = BatchMaker()
        self._max_pending = options.batch_size * _AHEAD

    def make(self, checker: Checker | None, show_progress: bool) -> tuple[int, int]:
        """Makes the remaining pictures; returns how many were made now, and how many were made before."""
        self._keep_final()
        before = sum(row["status"] == "done" for row in self._journal.rows.values())
        left = [batch for batch in batches(self._plan) if any(map(self._is_left, batch))]
        num_left = sum(map(self._is_left, self._plan))
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=num_left, unit=" pictures", disable=not show_progress))
            readers = stack.enter_context(ThreadPoolExecutor(_THREADS, "references"))
            writer = stack.enter_context(Writer(self._root, self._journal, bar, self._max_pending))
            for picture in self._plan:
                if picture.status and self._is_left(picture):
                    writer.put(self._row(picture, picture.status, picture.reason))
            for batch, drafts in read_ahead(readers, left, num_ahead=_AHEAD):
                self._make_batch(batch, drafts, checker, writer)
            writer.finish()
        rows = self._journal.rows
        self._journal.keep(rows[picture.name] for picture in self._plan)
        return sum(row["status"] == "done" for row in rows.values()) - before, before

    def results(self, num_made: int, num_before: int, seconds: float) -> Results:
        """Returns the results of all pictures of the plan."""
        found = []
        for picture in self._plan:
            row = self._journal.rows[picture.name]
            path = self._root / row["file"] if row["status"] == "done" else None
            found.append(
                GenerationResult(
                    name=picture.name, request=self._requests[picture.request], status=row["status"],
                    reason=row.get("reason", ""), path=path, references=picture.references, record=row,
                )
            )  # fmt: skip
        return Results(
            folder=self._root, results=tuple(found), num_made=num_made, num_before=num_before, seconds=seconds
        )

    def _keep_final(self) -> None:
        """Keeps the rows of pictures that need no further work, and removes all others."""
        rows, names = self._journal.rows, {picture.name for picture in self._plan}
        damaged = [row["name"] for row in rows.values() if row["status"] == "done" and not self._journal.is_intact(row)]
        if damaged:
            log.warning(
                "%d pictures are missing or damaged; diantu makes them again: %s", len(damaged), ", ".join(damaged)
            )
        self._journal.keep(
            row for name, row in rows.items() if name in names and row["status"] in _FINAL and name not in damaged
        )

    def _is_left(self, picture: Planned) -> bool:
        return picture.name not in self._journal.rows

    def _make_batch(
        self, batch: Sequence[Planned], drafts: Sequence[Draft | str], checker: Checker | None, writer: Writer
    ) -> None:
        """Makes a whole batch and writes those of its pictures that are left.

        The whole batch is made because the size of a batch may change pictures slightly.
        """
        left = {picture.name: picture for picture in batch if self._is_left(picture)}
        for picture, draft in zip(batch, drafts, strict=True):
            if isinstance(draft, str) and picture.name in left:
                writer.put(self._row(left.pop(picture.name), "failed", draft))
        usable = [draft for draft in drafts if isinstance(draft, Draft)]
        if not usable:
            return
        for part in self._maker.make(self._strategies[lacks_reference(batch[0])], usable, batch[0].bucket):
            speed = {"seconds": round(part.seconds / len(part.drafts), 3), "batch_size": len(part.drafts)}
            for draft, made in zip(part.drafts, part.made, strict=True):
                if draft.name in left:
                    picture = left[draft.name]
                    status, reason = _judged(made, checker)
                    row = self._row(picture, status, reason or picture.reason, made)
                    writer.put(row, made.image if status == "done" else None, speed)

    def _row(self, picture: Planned, status: Status, reason: str, made: Made | None = None) -> Row:
        """Returns the row of a picture, without values that differ when it is made again."""
        size = dict(zip(("width", "height"), made.image.size, strict=True)) if made and made.image else {}
        row = {
            "name": picture.name, "status": status, "reason": reason, "request": picture.request,
            "written": picture.written, "prompt": picture.prompt, "negative_prompt": picture.negative_prompt,
            "keywords": picture.keywords, "copywriter": picture.copywriter, "lines": picture.lines,
            "seed": picture.seed, "query": picture.query,
            "references": [reference.credits() for reference in picture.references],
            "gallery": self._gallery_version if picture.query else None, "settings": picture.settings,
            "strategy": self._described[lacks_reference(picture)], **size,
            "facts": dict(made.facts) if made else {}, "diantu": version("diantu"),
        }  # fmt: skip
        return {name: value for name, value in row.items() if value not in (None, "", (), [], {})}


def _judged(made: Made, checker: Checker | None) -> tuple[Status, str]:
    """Returns the status of a picture, and the reason if it is not kept."""
    if made.image is None:
        return "failed", made.problem or "the strategy returned no image"
    extrema = made.image.convert("RGB").getextrema()
    if all(brightest <= _BLACK for _, brightest in extrema):  # type: ignore[misc]
        return "failed", "the picture is black, as when half precision overflows; try dtype float32"
    reason = checker(made.image) if checker else None
    return ("done", "") if reason is None else ("refused", reason)


def _gallery_facts(gallery: Gallery | None) -> Mapping[str, Any] | None:
    if gallery is None:
        return None
    return {
        "path": str(gallery.path), "version": gallery_version(gallery.path), "rows": len(gallery),
        "encoder": gallery.spec.name,
    }  # fmt: skip


def _log_plan(plan: Sequence[Planned]) -> None:
    used = {reference.identity for picture in plan for reference in picture.references}
    lacking = [picture for picture in plan if picture.reason]
    log.info("planned %d pictures from %d references", len(plan) - sum(bool(it.status) for it in plan), len(used))
    if lacking:
        shown = "; ".join(f"{picture.name}: {picture.reason}" for picture in lacking[:3])
        more = "; …" if len(lacking) > 3 else ""
        log.warning("%d pictures have no reference that is good enough (%s%s)", len(lacking), shown, more)
