"""What a strategy gets and gives: drafts in, pictures out, a batch at a time.

A strategy knows neither galleries nor files of prompts: a run has chosen references and seeds before it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from PIL import Image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Draft:
    """One picture that is to be made.

    Attributes:
        name: unique in a run, as `0007-1`: messages name the picture by it.
        prompt: what the model is told.
        negative_prompt: what it should avoid; empty for nothing.
        seed: of this picture alone, so that its batch changes nothing.
        references: what it is made from, RGB, the best first; a strategy that follows another in a chain finds that
            one's picture as the only one.
        mask: `L`, of the first reference's size, white where the picture is to be made anew; None where no mask was
            given.
        lines: the copy that may be set on the picture, headline first.
        settings: what this picture's request changes of the strategies' settings: strategy → field → value.
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
    """One picture that was made, RGB; or None, and `problem` says in a sentence why.

    `facts` are JSON values for the manifest: steps asked for and done, sizes on the way, what was cut or retried.
    """

    image: Image.Image | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


@runtime_checkable
class Strategy(Protocol):
    """A way to make pictures.

    Attributes:
        name: as users write it.
        num_references: the fewest and the most references that one picture is made from.
    """

    name: str
    num_references: tuple[int, int]

    def describe(self) -> dict[str, Any]:
        """What decides the pictures, as JSON values for the manifest: settings, model and its revision, versions …."""
        ...

    def check(self, draft: Draft) -> None:
        """Says before the work what could not be used.

        Raises:
            InputError: if the draft lacks something, or changes a setting that does not exist or is out of range.
        """
        ...

    def bucket(self, draft: Draft) -> Hashable:
        """Drafts of equal buckets may be made in one batch: they have the same size and settings."""
        ...

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """Makes a batch of drafts of one bucket: as many pictures, in the same order.

        Raises:
            torch.OutOfMemoryError: if the batch is too large; half of it may do.
        """
        ...
