"""What became of a run's pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from PIL import Image

from ..references.reference import Reference
from ..requests import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """What became of one picture.

    Attributes:
        name: of the picture in its run, as `0007-1`.
        request: what it was made for.
        status: `done`; `failed`, `skipped` (it had no reference good enough) or `refused` (by the checker).
        reason: a sentence, unless it is done; of a picture that is done, why it was made without a reference.
        path: of the PNG; None unless it is done.
        references: what it was made from.
        record: its row of the manifest.
    """

    name: str
    request: GenerationRequest
    status: str
    reason: str
    path: Path | None
    references: tuple[Reference, ...] = field(repr=False)
    record: Mapping[str, Any] = field(repr=False)

    def image(self) -> Image.Image:
        """The picture, RGB.

        Raises:
            FileNotFoundError: if it was not made, or is gone.
        """
        if self.path is None:
            raise FileNotFoundError(f"the picture {self.name} was not made: {self.reason}")
        with Image.open(self.path, formats=["PNG"]) as image:
            return image.convert("RGB")


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(Sequence[GenerationResult]):
    """The pictures of a run, in the order of its requests.

    Attributes:
        folder: of the run.
        results: all of them.
        num_made: pictures that this job made.
        num_before: pictures that were there already.
        seconds: that this job took to make them, without the plan and the pages.
    """

    folder: Path
    results: tuple[GenerationResult, ...] = field(repr=False)
    num_made: int
    num_before: int
    seconds: float

    @overload
    def __getitem__(self, index: int) -> GenerationResult: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[GenerationResult]: ...
    def __getitem__(self, index: int | slice) -> GenerationResult | Sequence[GenerationResult]:
        return self.results[index]

    def __len__(self) -> int:
        return len(self.results)

    @property
    def counts(self) -> dict[str, int]:
        """How many pictures have each status."""
        return dict(Counter(result.status for result in self.results))

    def __str__(self) -> str:
        speed = self.num_made / self.seconds if self.seconds else 0.0
        counts = self.counts
        parts = [
            f"{self.num_made} pictures in {self.seconds:.1f} s ({speed:.1f} pictures/s)",
            f"{counts.get('failed', 0)} failed",
            f"{counts.get('skipped', 0)} skipped",
            *([f"{counts['refused']} refused"] if "refused" in counts else []),
            *([f"{self.num_before} were there before"] if self.num_before else []),
        ]
        return ", ".join(parts)
