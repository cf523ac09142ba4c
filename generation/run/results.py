"""The results of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from PIL import Image

from ...datasets import PixelsError
from ...datasets.errors import first_line
from ..references.reference import Reference
from ..requests import GenerationRequest
from .journal import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationResult:
    """The result for one picture.

    Attributes:
        name: of the picture in its run, for example `0007-1`.
        request: the request that it belongs to.
        status: `done`; `failed`; `skipped` (no reference was good enough) or `refused` (by the checker).
        reason: one sentence that says why it is not done; for a finished picture, why it was made without a reference,
            or empty.
        path: of the PNG; None unless it is done.
        references: the images that it was made from.
        record: its row of the manifest.
    """

    name: str
    request: GenerationRequest
    status: Status
    reason: str
    path: Path | None
    references: tuple[Reference, ...] = field(repr=False)
    record: Mapping[str, Any] = field(repr=False)

    def image(self) -> Image.Image:
        """Opens the picture, RGB.

        Raises:
            PixelsError: if it was not made, or the file is missing or damaged.
        """
        if self.path is None:
            raise PixelsError(f"the picture {self.name} was not made: {self.reason}")
        try:
            with Image.open(self.path, formats=["PNG"]) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise PixelsError(f"the picture {self.path} cannot be read ({first_line(error)})") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Results(Sequence[GenerationResult]):
    """The results of a run, in the order of its requests.

    Attributes:
        folder: of the run.
        results: one per picture.
        num_made: pictures that this job made.
        num_before: pictures that earlier jobs made.
        seconds: that this job took, without the plan and the pages.
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
    def counts(self) -> dict[Status, int]:
        """The number of pictures by status."""
        return dict(Counter(result.status for result in self.results))

    def __str__(self) -> str:
        speed = self.num_made / self.seconds if self.seconds else 0.0
        counts = self.counts
        parts = [
            f"{self.num_made} pictures in {self.seconds:.1f} s ({speed:.1f} pictures/s)",
            f"{counts.get('failed', 0)} failed",
            f"{counts.get('skipped', 0)} skipped",
            *([f"{counts['refused']} refused"] if "refused" in counts else []),
            *([f"{self.num_before} were made before"] if self.num_before else []),
        ]
        return ", ".join(parts)
