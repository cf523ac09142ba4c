"""Text to picture, for prompts that no reference fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..spec import Draft, Made
from .base import Diffusion
from .settings import SizedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImageSettings(SizedSettings):
    """What it can be told: what all strategies over diffusers can."""


class TextToImage(Diffusion):
    """Runs whatever `AutoPipelineForText2Image` finds for the model."""

    name = "text2img"
    num_references = (0, 0)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        width, height = self.canvas(drafts[0]).worked
        return self.render(drafts, [{} for _ in drafts], {"width": width, "height": height})
