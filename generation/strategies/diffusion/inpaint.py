"""A part of the reference made anew, mostly what is behind its subject; the rest stays as it is, byte for byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter, ImageOps

from ....datasets.errors import InputError
from ..settings import as_tuple, check_choice, check_number, check_text
from ..sizes import Canvas, flatten, plan_canvas
from ..spec import Draft, Made
from .base import Diffusion
from .options import ModelOptions
from .segmenting import Segmenter
from .settings import DiffusionSettings

_KEEPS = ("subject", "background")
_WHITE = 128  # from which level on pipelines take a mask for white


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintSettings(DiffusionSettings):
    """What it can be told. The result has the reference's size.

    Attributes:
        strength: of the noise where it is made anew; at 1 nothing of the reference is left there.
        segmenter: model of transformers that finds the subject of pictures that come without a mask; None for none.
        subject: labels of that model which are the subject; empty for what covers most of the middle.
        keep: of a picture without a mask, `subject` or `background`.
        feather: px over which the new part fades in from the mask's edge. What is kept is not touched.
    """

    strength: float = 1.0
    segmenter: str | None = None
    subject: tuple[str, ...] = ()
    keep: str = "subject"
    feather: int = 4

    def __post_init__(self) -> None:
        DiffusionSettings.__post_init__(self)
        check_number("strength", self.strength, 0.01, 1)
        check_text("segmenter", self.segmenter, optional=True)
        check_choice("keep", self.keep, _KEEPS)
        check_number("feather", self.feather, 0, 256, whole=True)
        object.__setattr__(self, "subject", as_tuple("subject", self.subject, str))


class Inpaint(Diffusion):
    """Runs whatever `AutoPipelineForInpainting` finds for the model, made for inpainting or not."""

    name = "inpaint"
    num_references = (1, 1)

    def __init__(self, settings: InpaintSettings, options: ModelOptions) -> None:
        super().__init__(settings, options)
        self._segmenters: dict[str, Segmenter] = {}

    def check(self, draft: Draft) -> None:
        """See `Strategy`."""
        super().check(draft)
        if draft.mask is None and self.settings_of(draft).segmenter is None:
            raise InputError(f"{draft.name}: there is no mask and no segmenter to find one; give a mask or a segmenter")
        if draft.mask is None:
            return
        reference = draft.references[0]
        if draft.mask.size != reference.size:
            raise InputError(
                f"{draft.name}: the mask has {draft.mask.width}×{draft.mask.height} px and the reference "
                f"{reference.width}×{reference.height}; give a mask of the same size"
            )
        if not (np.asarray(draft.mask.convert("L")) >= _WHITE).any():
            raise InputError(f"{draft.name}: the mask is black throughout; paint white what is to be made anew")

    def canvas(self, draft: Draft) -> Canvas:
        """The result has the reference's size, or what is kept would not be kept."""
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

    def _mask(self, draft: Draft, original: Image.Image, settings: Any) -> Image.Image | None:
        """White where it is made anew; None if no subject is found."""
        if draft.mask is not None:
            return draft.mask.convert("L")
        name = settings.segmenter
        if name not in self._segmenters:
            self._segmenters[name] = Segmenter(name, device=self.model.device)
        subject = self._segmenters[name].subject_mask(original, settings.subject)
        return ImageOps.invert(subject) if subject and settings.keep == "subject" else subject


def overlay(new: Image.Image, original: Image.Image, mask: Image.Image, feather: int) -> Image.Image:
    """The new picture where the mask is white, the original where it is black, byte for byte.

    A VAE changes every pixel on its way through, those that were to be kept too.
    """
    if feather:
        # From 0 at the edge to 1 `feather` px inside: a box over the edge is half white there.
        blurred = mask.filter(ImageFilter.BoxBlur(feather))
        mask = ImageChops.darker(mask, blurred.point([max(0, 2 * level - 255) for level in range(256)]))
    return Image.composite(new, original, mask)
