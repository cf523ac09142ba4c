"""Picture to picture: the reference's latents, with noise added, are where denoising starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..settings import check_number
from ..sizes import fit
from ..spec import Draft, Made
from .base import Diffusion
from .settings import SizedSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageToImageSettings(SizedSettings):
    """What it can be told.

    Attributes:
        strength: how far it may leave the reference: near 0 it stays, at 1 only the prompt counts. `steps × strength`
            steps are done, one at least.
    """

    strength: float = 0.6

    def __post_init__(self) -> None:
        SizedSettings.__post_init__(self)
        check_number("strength", self.strength, 0.01, 1)


class ImageToImage(Diffusion):
    """Runs whatever `AutoPipelineForImage2Image` finds for the model."""

    name = "img2img"
    num_references = (1, 1)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        settings, canvas = self.settings_of(drafts[0]), self.canvas(drafts[0])
        own = [{"image": fit(draft.references[0], canvas, settings.fit)} for draft in drafts]
        width, height = canvas.worked
        return self.render(drafts, own, {"strength": settings.strength, "width": width, "height": height})
