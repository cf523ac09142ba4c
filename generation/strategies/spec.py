"""The interface of a strategy: drafts go in, images come out, one batch at a time.

A strategy knows neither galleries nor prompt files. The run has already chosen the references and the seeds.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from ...datasets.errors import InputError


class DraftError(InputError):
    """One draft cannot be made, because of its reference or mask. Its picture fails, and the run goes on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """The input for one image that a strategy must make.

    Attributes:
        name: unique in a run, for example `0007-1`; messages name the image by it.
        prompt: the prompt for the model.
        negative_prompt: what the model should avoid; empty for nothing.
        seed: the seed of this image alone, so that the batch does not change the image.
        references: the input images, RGB, the best one first. A strategy that follows another one in a chain gets
            the image of that one as the only reference.
        mask: mode `L`, of the same size as the first reference, white where the strategy must repaint; None if the
            request has no mask.
        lines: the copy that may be drawn on the image, headline first.
        settings: what the request of this image changes in the settings: strategy → field → value.
    """

    name: str
    prompt: str
    seed: int
    negative_prompt: str = ""
    references: tuple[Image.Image, ...] = ()
    mask: Image.Image | None = None
    lines: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """The result for one draft.

    Attributes:
        image: RGB; None if the strategy could not make it.
        facts: JSON values for the manifest, for example steps asked for and done, working size, what was cut.
        problem: one sentence that says why there is no image.
    """

    image: Image.Image | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@runtime_checkable
class Strategy(Protocol):
    """A way to make images.

    Attributes:
        name: as users write it.
        num_references: the smallest and the largest number of references for one image.
    """

    name: str
    num_references: tuple[int, int]

    def describe(self) -> dict[str, Any]:
        """Returns all that decides the images, as JSON values for the manifest: settings, model, versions."""
        ...

    def check(self, draft: Draft) -> None:
        """Checks a draft before the work begins.

        Raises:
            InputError: if the draft lacks something, or changes a setting that does not exist or is out of range.
            DraftError: if its reference or mask cannot be used, which costs its picture only.
        """
        ...

    def bucket(self, draft: Draft) -> Hashable:
        """Returns a key. Drafts with equal keys have the same size and settings and may share a batch."""
        ...

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """Makes one batch of drafts of the same bucket; returns one result per draft, in the same order.

        Raises:
            torch.OutOfMemoryError: if the batch is too large; the caller then halves it.
            DraftError: if a draft cannot be made; the caller then halves the batch, and that picture fails.
        """
        ...


def unfit(strategy: Strategy, size: tuple[int, int]) -> str:
    """Returns why an image of this width and height cannot be a reference of a strategy; empty if it can.

    A search then takes the next image. A strategy says so in a method `unfit(size)`; one without it takes all sizes.
    """
    answer = getattr(strategy, "unfit", None)
    return answer(size) if answer is not None else ""
