"""A run: requests in, pictures out. What is done is never done again, and a job may be stopped at any instant."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
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
from .journal import Manifest
from .pages import write_pages
from .plan import RunOptions, batches, lacks_reference, make_plan
from .planned import Planned
from .results import GenerationResult, Results
from .writer import Writer

log = logging.getLogger(__name__)

# A picture goes in, and the reason comes out why it is not kept; None if it is.
Checker = Callable[[Image.Image], "str | None"]

# Batches whose references are read ahead, or whose pictures wait to be written; and threads that read.
_AHEAD = 2
_THREADS = 4
# A picture without a brighter pixel is black: half precision that overflowed ends so.
_BLACK = 8
# What a job does not try again.
_FINAL = ("done", "skipped", "refused")


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
    """Makes pictures of requests, into a folder; run it again with the same to go on where it stopped.

    The first run plans: which references, seeds and batches. Later ones follow that plan, so that they end with the
    same files as one that was not stopped; pictures that failed are tried again. The folder then holds `pictures/`,
    `manifest.jsonl` (a row a picture), `index.html`, `sheet.png`, `requests.jsonl`, `plan.jsonl` and `run.json`.

    Args:
        requests: what is asked for; a text is a request of that prompt.
        output: the folder, new or of the same run.
        strategy: what makes the pictures; see `load_strategies`.
        gallery: where references are searched; needed unless all requests name files, or no references are used.
        options: how references and batches are chosen.
        without_reference: what makes pictures that have no reference good enough; needed for `text-to-image` unless
            `strategy` can.
        copywriter: reads the prompts as advertising copy: its keywords are searched for, it is set on the picture
            unless a request has a headline, and the model is told a prompt made of it.
        checker: called with each picture; a reason instead of None keeps it out, with the status `refused`.
        show_progress: one progress bar on stderr.

    Raises:
        InputError: if something given cannot be used, or the folder holds another run, or another job works in it.
    """
    asked = [GenerationRequest(prompt=it) if isinstance(it, str) else it for it in requests]
    if not asked:
        raise InputError("there are no requests; give at least one")
    options = options or RunOptions()
    if options.no_reference == "text-to-image" and without_reference is None and strategy.num_references[0] > 0:
        raise InputError(
            f"{strategy.name} needs a reference, so it is not text-to-image; give without_reference a strategy that "
            "makes pictures from prompts alone, or no_reference skip or fail"
        )
    root = Path(output)
    with exclusive(root, LOCK):
        run = _Run(root, asked, strategy, without_reference, options, gallery, copywriter)
        started = time.perf_counter()
        num_made, num_before = run.make(checker, show_progress)
        results = run.results(num_made, num_before, time.perf_counter() - started)
        write_pages(root, results)
    return results


class _Run:
    """One job over a run's folder, whose lock is held."""

    def __init__(
        self,
        root: Path,
        requests: Sequence[GenerationRequest],
        strategy: Strategy,
        without_reference: Strategy | None,
        options: RunOptions,
        gallery: Gallery | None,
        copywriter: Copywriter | None,
    ) -> None:
        self._root = root
        self._requests = dict(named(requests))
        self._makers = (strategy, without_reference or strategy)
        self._described = [maker.describe() for maker in self._makers]
        config = {"strategy": self._described[0], "options": asdict(options), "copy": copywriter is not None}
        if without_reference is not None:
            config["without_reference"] = self._described[1]
        opened = open_plan(root, requests, config)
        if opened is None:
            self._plan = make_plan(
                requests, strategy, options, gallery=gallery, without_reference=without_reference, copywriter=copywriter
            )
            facts = {"diantu": version("diantu"), "gallery": _told(gallery)}
            noted = write_plan(root, requests, config, self._plan, facts)
            _log_plan(self._plan)
        else:
            self._plan, noted = opened
            if changed := changed_versions(noted["config"], config):
                log.warning("planned with other versions, so pictures may differ a little: %s", ", ".join(changed))
        self._gallery_version = (noted["gallery"] or {}).get("version")
        self._manifest = Manifest(root)
        self._too_many: dict[int, int] = {}  # bucket → the smallest batch that was too large for the memory
        self._pending = options.batch_size * _AHEAD

    def make(self, checker: Checker | None, show_progress: bool) -> tuple[int, int]:
        """Makes what is left; gives how many pictures were made now, and how many were there before."""
        self._keep_final()
        before = sum(row["status"] == "done" for row in self._manifest.rows.values())
        left = [batch for batch in batches(self._plan) if any(map(self._is_left, batch))]
        num_left = sum(map(self._is_left, self._plan))
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=num_left, unit=" pictures", disable=not show_progress))
            readers = stack.enter_context(ThreadPoolExecutor(_THREADS, "references"))
            writer = stack.enter_context(Writer(self._root, self._manifest, bar, self._pending))
            for picture in self._plan:
                if picture.status and self._is_left(picture):
                    writer.put(self._row(picture, picture.status, picture.reason))
            for batch, drafts in _read_ahead(readers, left):
                self._make_batch(batch, drafts, checker, writer)
            writer.finish()
        rows = self._manifest.rows
        self._manifest.keep(rows[picture.name] for picture in self._plan)
        return sum(row["status"] == "done" for row in rows.values()) - before, before

    def results(self, num_made: int, num_before: int, seconds: float) -> Results:
        """What became of all pictures of the plan."""
        found = []
        for picture in self._plan:
            row = self._manifest.rows[picture.name]
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
        """Leaves in the manifest what need not be done again."""
        rows, names = self._manifest.rows, {picture.name for picture in self._plan}
        damaged = [
            row["name"] for row in rows.values() if row["status"] == "done" and not self._manifest.is_intact(row)
        ]
        if damaged:
            log.warning("%d pictures are missing or damaged and are made again: %s", len(damaged), ", ".join(damaged))
        self._manifest.keep(
            row for name, row in rows.items() if name in names and row["status"] in _FINAL and name not in damaged
        )

    def _is_left(self, picture: Planned) -> bool:
        return picture.name not in self._manifest.rows

    def _make_batch(
        self, batch: Sequence[Planned], drafts: Sequence[Draft | str], checker: Checker | None, writer: Writer
    ) -> None:
        """Makes a batch as a whole, since its shape may change pictures by a little, and writes what is left of it."""
        left = {picture.name: picture for picture in batch if self._is_left(picture)}
        for picture, draft in zip(batch, drafts, strict=True):
            if isinstance(draft, str) and picture.name in left:
                writer.put(self._row(left.pop(picture.name), "failed", draft))
        usable = [draft for draft in drafts if isinstance(draft, Draft)]
        maker = self._makers[lacks_reference(batch[0])]
        for some, made, seconds in self._made(maker, usable, batch[0].bucket) if usable else ():
            for draft, each in zip(some, made, strict=True):
                if draft.name in left:
                    picture = left[draft.name]
                    status, reason = _judged(each, checker)
                    row = self._row(picture, status, reason or picture.reason, each)
                    speed = {"seconds": round(seconds / len(some), 3), "batch_size": len(some)}
                    writer.put(row, each.image if status == "done" else None, speed)

    def _made(
        self, maker: Strategy, drafts: list[Draft], bucket: int
    ) -> Iterator[tuple[list[Draft], list[Made], float]]:
        """Makes drafts together, or in halves of halves where memory asks for it; the same ones every time."""
        if len(drafts) < self._too_many.get(bucket, sys.maxsize) or len(drafts) == 1:
            started = time.perf_counter()
            try:
                made = maker.make(drafts)
            except _out_of_memory() as error:
                problem = f"out of memory ({str(error).partition('. ')[0]})"
            else:
                yield drafts, made, time.perf_counter() - started
                return
            _free_memory()  # now, when no traceback holds the batch any more
            if len(drafts) == 1:
                yield drafts, [Made(image=None, problem=problem)], time.perf_counter() - started
                return
            log.warning("%d pictures of this size at a time are too many: %s; going on with half", len(drafts), problem)
            self._too_many[bucket] = len(drafts)
        middle = (len(drafts) + 1) // 2
        yield from self._made(maker, drafts[:middle], bucket)
        yield from self._made(maker, drafts[middle:], bucket)

    def _row(self, picture: Planned, status: str, reason: str, made: Made | None = None) -> dict[str, Any]:
        """What is told of a picture, less what differs when it is made again."""
        size = dict(zip(("width", "height"), made.image.size, strict=True)) if made and made.image else {}
        told = {
            "name": picture.name, "status": status, "reason": reason, "request": picture.request,
            "written": picture.written, "prompt": picture.prompt, "negative_prompt": picture.negative_prompt,
            "keywords": picture.keywords, "copywriter": picture.copywriter, "lines": picture.lines,
            "seed": picture.seed, "query": picture.query,
            "references": [reference.credits() for reference in picture.references],
            "gallery": self._gallery_version if picture.query else None, "settings": picture.settings,
            "strategy": self._described[lacks_reference(picture)], **size,
            "facts": dict(made.facts) if made else {}, "diantu": version("diantu"),
        }  # fmt: skip
        return {name: value for name, value in told.items() if value not in (None, "", (), [], {})}


def _read_ahead(
    readers: ThreadPoolExecutor, left: Sequence[list[Planned]]
) -> Iterator[tuple[list[Planned], list[Draft | str]]]:
    """Batches with the pixels of their references, which are read while the batch before is made."""
    reading: deque[tuple[list[Planned], list[Future[Draft | str]]]] = deque()
    for batch in left:
        reading.append((batch, [readers.submit(_load, picture) for picture in batch]))
        if len(reading) > _AHEAD:
            batch, drafts = reading.popleft()
            yield batch, [draft.result() for draft in drafts]
    for batch, drafts in reading:
        yield batch, [draft.result() for draft in drafts]


def _load(picture: Planned) -> Draft | str:
    try:
        return picture.load()
    except FileNotFoundError as error:
        return str(error)


def _judged(made: Made, checker: Checker | None) -> tuple[str, str]:
    """The status of a picture, and why it is not kept."""
    if made.image is None:
        return "failed", made.problem or "no picture came out"
    extrema = made.image.convert("RGB").getextrema()
    if all(brightest <= _BLACK for _, brightest in extrema):  # type: ignore[misc]
        return "failed", "the picture is black, as half precision gives when it overflows; try dtype float32"
    reason = checker(made.image) if checker else None
    return ("done", "") if reason is None else ("refused", reason)


def _out_of_memory() -> tuple[type[BaseException], ...]:
    """What running out of memory raises; torch's where it is in use, without importing it."""
    torch = sys.modules.get("torch")
    return (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)


def _free_memory() -> None:
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()


def _told(gallery: Gallery | None) -> Mapping[str, Any] | None:
    if gallery is None:
        return None
    return {
        "path": str(gallery.path), "version": gallery_version(gallery.path), "rows": len(gallery),
        "encoder": gallery.spec.name,
    }  # fmt: skip


def _log_plan(plan: Sequence[Planned]) -> None:
    used = {reference.identity for picture in plan for reference in picture.references}
    lacking = [picture for picture in plan if picture.reason]
    log.info("%d pictures are planned, from %d references", len(plan) - sum(bool(it.status) for it in plan), len(used))
    if lacking:
        shown = "; ".join(f"{picture.name}: {picture.reason}" for picture in lacking[:3])
        more = "; …" if len(lacking) > 3 else ""
        log.warning("%d pictures have no reference good enough (%s%s)", len(lacking), shown, more)
