"""Text to image, for prompts that no reference fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..spec import Draft, Made
from .base import Diffusion
from .pipeline_classes import PipelineTask
from .settings import SizedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImageSettings(SizedSettings):
    """Settings of text2img: those of all strategies over diffusers, and the size."""


class TextToImage(Diffusion[TextToImageSettings]):
    """Runs the class that `AutoPipelineForText2Image` finds for the model."""

    name = "text2img"
    settings_type = TextToImageSettings
    num_references = (0, 0)
    task = PipelineTask(strategy=name, kind="text to image", arguments=("height", "width"))

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        width, height = self.canvas(drafts[0]).worked
        return self.render(drafts, [{} for _ in drafts], {"width": width, "height": height})
