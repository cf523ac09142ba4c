"""References in context: models that read a prompt and several pictures, and follow what the prompt says of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....datasets.errors import InputError
from ..sizes import flatten
from ..spec import Draft, Made
from .base import Diffusion
from .settings import SizedSettings

_LEAST_SIDE, _MOST_ASPECT = 64, 8  # of a reference, in FLUX.2's pipelines


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSettings(SizedSettings):
    """What it can be told: what all strategies over diffusers can. References are not cropped, whatever `fit`."""


class Edit(Diffusion):
    """Runs FLUX.2 and Qwen-Image-Edit-Plus, one picture at a time: they would take a batch's references as one's."""

    name = "edit"
    num_references = (1, 10)

    def check(self, draft: Draft) -> None:
        """See `Strategy`."""
        super().check(draft)
        for reference in draft.references:
            short, long = sorted(reference.size)
            if short < _LEAST_SIDE or long > _MOST_ASPECT * short:
                raise InputError(
                    f"{draft.name}: a reference has {reference.width}×{reference.height} px; give one of "
                    f"{_LEAST_SIDE} px at least on each side, and at most {_MOST_ASPECT} times as long as wide"
                )

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        width, height = self.canvas(drafts[0]).worked
        return [
            made
            for draft in drafts
            for made in self.render(
                [draft], [{}], {"image": list(map(flatten, draft.references)), "width": width, "height": height}
            )
        ]
