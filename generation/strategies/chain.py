"""Strategies one after the other: each works on the picture that the one before has made."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image

from ...datasets.errors import InputError
from .spec import Draft, Made, Strategy


class Chain:
    """A strategy made of several. Facts are kept apart: the name of each → its facts.

    A picture that one of them could not make goes no further.
    """

    def __init__(self, strategies: Sequence[Strategy]) -> None:
        for strategy in strategies[1:]:
            fewest, most = strategy.num_references
            if not fewest <= 1 <= most:
                raise InputError(
                    f"{strategy.name!r} cannot follow another strategy: it takes {_range(fewest, most)}, and one "
                    "picture is handed on; put it first or leave it out"
                )
        self._strategies = tuple(strategies)
        self.name = "+".join(strategy.name for strategy in strategies)
        self.num_references = strategies[0].num_references

    def describe(self) -> dict[str, Any]:
        """What each of them says, by name."""
        return {strategy.name: strategy.describe() for strategy in self._strategies}

    def check(self, draft: Draft) -> None:
        """See `Strategy`. What follows the first is checked with the draft's first reference for the coming picture."""
        first, *others = self._strategies
        first.check(draft)
        picture = draft.references[0] if draft.references else Image.new("RGB", (512, 512))
        for strategy in others:
            strategy.check(_handed_on(draft, picture))

    def bucket(self, draft: Draft) -> Hashable:
        """That of the first: the others sort the pictures again, whose sizes are known only then."""
        return self._strategies[0].bucket(draft)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        first, *others = self._strategies
        made = [replace(each, facts={first.name: each.facts}) for each in first.make(drafts)]
        for strategy in others:
            batches: dict[Hashable, list[tuple[int, Draft]]] = {}
            for number, each in enumerate(made):
                if each.image is not None:
                    draft = _handed_on(drafts[number], each.image)
                    batches.setdefault(strategy.bucket(draft), []).append((number, draft))
            for batch in batches.values():
                news = strategy.make([draft for _, draft in batch])
                for (number, _), new in zip(batch, news, strict=True):
                    made[number] = replace(new, facts={**made[number].facts, strategy.name: new.facts})
        return made


def _handed_on(draft: Draft, picture: Image.Image) -> Draft:
    """The mask belongs to the reference, not to the picture made from it."""
    return replace(draft, references=(picture,), mask=None)


def _range(fewest: int, most: int) -> str:
    if most == 0:
        return "no reference"
    return f"{fewest} references" if fewest == most else f"{fewest} to {most} references"
