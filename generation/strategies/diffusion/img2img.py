"""Image to image: denoising starts from the latents of the reference with added noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..settings import check_number
from ..sizes import fit
from ..spec import Draft, Made
from .base import Diffusion
from .pipeline_classes import PipelineTask
from .settings import SizedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageToImageSettings(SizedSettings):
    """Settings of img2img.

    Attributes:
        strength: how far the result may differ from the reference: near 0 it stays the same, at 1 only the prompt
            counts. The pipeline does `steps × strength` steps, at least one.
    """

    strength: float = 0.6

    def __post_init__(self) -> None:
        SizedSettings.__post_init__(self)
        check_number("strength", self.strength, 0.01, 1)


class ImageToImage(Diffusion[ImageToImageSettings]):
    """Runs the class that `AutoPipelineForImage2Image` finds for the model."""

    name = "img2img"
    settings_type = ImageToImageSettings
    num_references = (1, 1)
    task = PipelineTask(strategy=name, kind="image to image", arguments=("image", "strength"))

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        settings, canvas = self.settings_of(drafts[0]), self.canvas(drafts[0])
        own = [{"image": fit(draft.references[0], canvas, settings.fit)} for draft in drafts]
        width, height = canvas.worked
        return self.render(drafts, own, {"strength": settings.strength, "width": width, "height": height})
