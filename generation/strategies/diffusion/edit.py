"""References in context: models that read a prompt and several images, and edit them as the prompt says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..sizes import flatten
from ..spec import Draft, DraftError, Made
from .base import Diffusion
from .pipeline_classes import PipelineTask
from .settings import SizedSettings

_LEAST_SIDE, _MOST_ASPECT = 64, 8  # of a reference in the pipelines of FLUX.2


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSettings(SizedSettings):
    """Settings of edit: those of all strategies over diffusers, and the size. `fit` does not affect references."""


class Edit(Diffusion[EditSettings]):
    """Runs FLUX.2 and Qwen-Image-Edit-Plus, one image at a time.

    They would take the references of a whole batch as references of one image.
    """

    name = "edit"
    settings_type = EditSettings
    num_references = (1, 10)
    # Other classes of this kind take one reference, or one reference per image of the batch.
    task = PipelineTask(
        strategy=name,
        kind="image to image",
        arguments=("image", "height", "width"),
        classes=("Flux2KleinPipeline", "Flux2Pipeline", "QwenImageEditPlusPipeline"),
    )

    def check(self, draft: Draft) -> None:
        """See `Strategy`.

        Raises:
            DraftError: also if a reference is too small or too long.
        """
        super().check(draft)
        for reference in draft.references:
            if reason := self.unfit(reference.size):
                raise DraftError(f"{draft.name}: a reference {reason}")

    def unfit(self, size: tuple[int, int]) -> str:
        """See `Strategy`."""
        short, long = sorted(size)
        if short >= _LEAST_SIDE and long <= _MOST_ASPECT * short:
            return ""
        return (
            f"has {size[0]}×{size[1]} px; give one with at least {_LEAST_SIDE} px on each side, and at most "
            f"{_MOST_ASPECT} times as long as wide"
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
