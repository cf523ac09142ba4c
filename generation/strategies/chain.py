"""Strategies one after the other: each works on the image that the one before made."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from ...datasets.errors import InputError
from .base import reference_range
from .spec import Draft, Made, Strategy, unfit


class Chain:
    """A strategy made of several. Facts are kept by strategy: name → facts.

    If one strategy fails to make an image, the later ones do not get it.
    """

    def __init__(self, strategies: Sequence[Strategy]) -> None:
        for strategy in strategies[1:]:
            fewest, most = strategy.num_references
            if not fewest <= 1 <= most:
                raise InputError(
                    f"{strategy.name!r} cannot follow another strategy: it takes {reference_range(fewest, most)}, and "
                    "a chain passes on 1 image; put it first or leave it out"
                )
        self._strategies = tuple(strategies)
        self.name = "+".join(strategy.name for strategy in strategies)
        self.num_references = strategies[0].num_references

    def describe(self) -> dict[str, Any]:
        """Returns the descriptions of the strategies by name."""
        return {strategy.name: strategy.describe() for strategy in self._strategies}

    def unfit(self, size: tuple[int, int]) -> str:
        """See `unfit`; only the first strategy gets the references."""
        return unfit(self._strategies[0], size)

    def check(self, draft: Draft) -> None:
        """See `Strategy`. For the later strategies, the first reference stands in for the image that is not made yet.

        Raises:
            InputError: if one of the strategies cannot use the draft.
        """
        first, *others = self._strategies
        first.check(draft)
        image = draft.references[0] if draft.references else Image.new("RGB", (512, 512))
        for strategy in others:
            strategy.check(_passed_on(draft, image))

    def bucket(self, draft: Draft) -> Hashable:
        """Returns the bucket of the first strategy. The others sort again, because sizes are known only then."""
        return self._strategies[0].bucket(draft)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        first, *others = self._strategies
        made = [replace(each, facts={first.name: each.facts}) for each in first.make(drafts)]
        for strategy in others:
            batches: dict[Hashable, list[tuple[int, Draft]]] = {}
            for number, each in enumerate(made):
                if each.image is not None:
                    draft = _passed_on(drafts[number], each.image)
                    batches.setdefault(strategy.bucket(draft), []).append((number, draft))
            for batch in batches.values():
                results = strategy.make([draft for _, draft in batch])
                for (number, _), result in zip(batch, results, strict=True):
                    made[number] = replace(result, facts={**made[number].facts, strategy.name: result.facts})
        return made


def _passed_on(draft: Draft, image: Image.Image) -> Draft:
    """Returns the draft for the next strategy. The mask belongs to the reference, so it is not passed on."""
    return replace(draft, references=(image,), mask=None)
