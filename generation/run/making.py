"""Makes the batches of a run: reads references ahead, and halves batches that fail, so that one image costs one."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ...datasets.errors import InputError, first_line
from ..strategies.spec import Draft, DraftError, Made, Strategy
from .planned import Planned

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeBatch:
    """Drafts that a strategy made in one call.

    Attributes:
        drafts: the batch.
        made: one result per draft, in the same order.
        seconds: that the call took.
    """

    drafts: list[Draft]
    made: list[Made]
    seconds: float


class BatchMaker:
    """Makes drafts in batches. A batch that fails is halved, in the same way in each job.

    It remembers the smallest size that was too large for each bucket, so that a size is not tried twice.
    """

    def __init__(self) -> None:
        self._too_many: dict[int, int] = {}  # bucket → the smallest batch that did not fit

    def make(self, strategy: Strategy, drafts: list[Draft], bucket: int) -> Iterator[MadeBatch]:
        """Makes drafts of one bucket together, or in halves of halves if that fails.

        A draft that fails even alone is a failure: it does not fit into memory, or the strategy raised an exception.

        Raises:
            InputError: if the strategy raises it.
        """
        if len(drafts) < self._too_many.get(bucket, sys.maxsize) or len(drafts) == 1:
            started = time.perf_counter()
            made, problem, is_memory = _tried(strategy, drafts)
            if made is None and len(drafts) == 1:
                made = [Made(image=None, problem=problem)]
            if made is not None:
                yield MadeBatch(drafts=drafts, made=made, seconds=time.perf_counter() - started)
                return
            log.warning("a batch of %d pictures cannot be made: %s; diantu halves it", len(drafts), problem)
            if is_memory:
                self._too_many[bucket] = len(drafts)
        middle = (len(drafts) + 1) // 2
        yield from self.make(strategy, drafts[:middle], bucket)
        yield from self.make(strategy, drafts[middle:], bucket)


def _tried(strategy: Strategy, drafts: list[Draft]) -> tuple[list[Made] | None, str, bool]:
    """Returns what a strategy made; or None, the reason, and whether that is memory."""
    try:
        return strategy.make(drafts), "", False
    except _out_of_memory() as error:
        problem = f"out of memory ({str(error).partition('. ')[0]})"
    except DraftError as error:
        return None, first_line(error), False
    except InputError:  # what the user asked for cannot be done with any image
        raise
    except Exception as error:
        # The strategy, perhaps somebody else's, met an image that it was not written for: only that picture fails.
        log.debug("%s failed", strategy.name, exc_info=True)
        return None, f"{strategy.name} failed with {type(error).__name__}: {first_line(error)}", False
    _free_memory()  # not earlier: until here, the traceback holds the tensors of the batch
    return None, problem, True


def read_ahead(
    readers: ThreadPoolExecutor, batches: Sequence[list[Planned]], *, num_ahead: int
) -> Iterator[tuple[list[Planned], list[Draft | str]]]:
    """Yields batches with the pixels of their references, and reads the next ones while the caller makes pictures.

    Args:
        readers: the threads that read.
        batches: in the order in which they are made.
        num_ahead: how many batches are read ahead.

    Yields:
        The batch, and for each picture its draft, or a sentence that says why it cannot be read.
    """
    reading: deque[tuple[list[Planned], list[Future[Draft | str]]]] = deque()
    for batch in batches:
        reading.append((batch, [readers.submit(_load, picture) for picture in batch]))
        if len(reading) > num_ahead:
            batch, drafts = reading.popleft()
            yield batch, [draft.result() for draft in drafts]
    for batch, drafts in reading:
        yield batch, [draft.result() for draft in drafts]


def _load(picture: Planned) -> Draft | str:
    try:
        return picture.load()
    except FileNotFoundError as error:
        return str(error)


def _out_of_memory() -> tuple[type[BaseException], ...]:
    """Returns what running out of memory raises, including the error of torch if torch is already loaded."""
    torch = sys.modules.get("torch")
    return (MemoryError,) if torch is None else (MemoryError, torch.OutOfMemoryError)


def _free_memory() -> None:
    if torch := sys.modules.get("torch"):
        torch.cuda.empty_cache()
