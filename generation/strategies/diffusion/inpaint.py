"""Repaints a part of the reference, usually the background; the rest is kept byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from ....datasets.errors import InputError
from ..settings import as_tuple, check_choice, check_number, check_text
from ..sizes import Canvas, flatten, plan_canvas
from ..spec import Draft, DraftError, Made
from .base import Diffusion
from .options import ModelOptions
from .pipeline_classes import PipelineTask
from .segmenting import Segmenter
from .settings import DiffusionSettings

Keep: TypeAlias = Literal["subject", "background"]

_WHITE = 128  # the level from which pipelines take a mask for white


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintSettings(DiffusionSettings):
    """Settings of inpaint. The result has the size of the reference.

    Attributes:
        strength: of the noise in the repainted part; at 1 nothing of the reference remains there.
        segmenter: a transformers model that finds the subject of images without a mask; None for none.
        subject: the labels of that model that make up the subject; empty for what covers most of the centre.
        keep: what is kept of an image without a mask.
        feather: pixels over which the repainted part fades in from the edge of the mask. The kept part does not change.
    """

    strength: float = 1.0
    segmenter: str | None = None
    subject: tuple[str, ...] = ()
    keep: Keep = "subject"
    feather: int = 4

    def __post_init__(self) -> None:
        DiffusionSettings.__post_init__(self)
        check_number("strength", self.strength, 0.01, 1)
        check_text("segmenter", self.segmenter, optional=True)
        check_choice("keep", self.keep, get_args(Keep))
        check_number("feather", self.feather, 0, 256, whole=True)
        object.__setattr__(self, "subject", as_tuple("subject", self.subject, str))


class Inpaint(Diffusion[InpaintSettings]):
    """Runs the class that `AutoPipelineForInpainting` finds for the model, whether it is made for inpainting or not."""

    name = "inpaint"
    settings_type = InpaintSettings
    num_references = (1, 1)
    task = PipelineTask(
        strategy=name, kind="inpainting", arguments=("image", "mask_image", "strength", "height", "width")
    )

    def __init__(self, settings: InpaintSettings, options: ModelOptions) -> None:
        super().__init__(settings, options)
        self._segmenters: dict[str, Segmenter] = {}

    def check(self, draft: Draft) -> None:
        """See `Strategy`.

        Raises:
            InputError: also if there is neither mask nor segmenter.
            DraftError: if the mask cannot be used.
        """
        super().check(draft)
        if draft.mask is None and self.settings_of(draft).segmenter is None:
            raise InputError(f"{draft.name}: there is no mask and no segmenter to find one; give a mask or a segmenter")
        if draft.mask is None:
            return
        reference = draft.references[0]
        if draft.mask.size != reference.size:
            raise DraftError(
                f"{draft.name}: the mask has {draft.mask.width}×{draft.mask.height} px and the reference "
                f"{reference.width}×{reference.height}; give a mask of the same size"
            )
        if not (np.asarray(draft.mask.convert("L")) >= _WHITE).any():
            raise DraftError(f"{draft.name}: the mask is completely black; paint the part to repaint white")

    def canvas(self, draft: Draft) -> Canvas:
        """Returns the sizes. The result has the size of the reference, so that the kept part can be copied."""
        width, height = draft.references[0].size
        pixels, multiple = self.working_area(draft)
        return plan_canvas((width, height), width=width, height=height, pixels=pixels, multiple=multiple)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        settings, canvas = self.settings_of(drafts[0]), self.canvas(drafts[0])
        originals = [flatten(draft.references[0]) for draft in drafts]
        masks = [self._mask(draft, original, settings) for draft, original in zip(drafts, originals, strict=True)]
        made = [
            Made(image=None, problem=f"{draft.name}: {settings.segmenter} finds no subject in the reference")
            for draft in drafts
        ]
        found = [(number, mask) for number, mask in enumerate(masks) if mask is not None]
        if not found:
            return made
        width, height = canvas.worked
        own = [
            {"image": originals[number].resize(canvas.worked, Image.Resampling.LANCZOS),
             "mask_image": mask.resize(canvas.worked, Image.Resampling.BOX)}
            for number, mask in found
        ]  # fmt: skip
        shared = {"width": width, "height": height, "strength": settings.strength}
        rendered = self.render([drafts[number] for number, _ in found], own, shared)
        for (number, mask), each in zip(found, rendered, strict=True):
            facts = {**each.facts, "mask": "given" if drafts[number].mask else settings.segmenter}
            image = each.image and overlay(each.image, originals[number], mask, settings.feather)
            made[number] = replace(each, image=image, facts=facts)
        return made

    def _mask(self, draft: Draft, original: Image.Image, settings: InpaintSettings) -> Image.Image | None:
        """Returns the mask, white where the image is repainted; None if no subject is found."""
        if draft.mask is not None:
            return draft.mask.convert("L")
        name = settings.segmenter
        assert name is not None, "check refuses drafts with neither mask nor segmenter"
        if name not in self._segmenters:
            self._segmenters[name] = Segmenter(name, device=self.model.device)
        subject = self._segmenters[name].subject_mask(original, settings.subject)
        return ImageOps.invert(subject) if subject and settings.keep == "subject" else subject


def overlay(new: Image.Image, original: Image.Image, mask: Image.Image, feather: int) -> Image.Image:
    """Returns the new image where the mask is white, and the original, byte for byte, where it is black.

    This is needed because a VAE changes every pixel, also those that must be kept.
    """
    if feather:
        # From 0 at the edge to 1 at `feather` px inside: a box over the edge is half white there.
        blurred = mask.filter(ImageFilter.BoxBlur(feather))
        mask = ImageChops.darker(mask, blurred.point([max(0, 2 * level - 255) for level in range(256)]))
    return Image.composite(new, original, mask)
