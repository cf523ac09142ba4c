"""What all strategies that run a model of diffusers share: settings, checks, sizes."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

from ....datasets.errors import InputError
from ..settings import changed_settings
from ..sizes import Canvas, plan_canvas, restore
from ..spec import Draft, Made
from .calls import render
from .models import shared_model
from .options import ModelOptions
from .settings import DiffusionSettings


class Diffusion:
    """A strategy that runs a pipeline of diffusers. Subclasses say which, and what it is given."""

    name: ClassVar[str]
    num_references: tuple[int, int]

    def __init__(self, settings: DiffusionSettings, options: ModelOptions) -> None:
        self.settings = settings
        self.model = shared_model(options)

    def describe(self) -> dict[str, Any]:
        """See `Strategy`; loads the model."""
        settings = json.loads(json.dumps(asdict(self.settings)))  # tuples are lists once a manifest is read again
        return {"strategy": self.name, "settings": settings, **self.model.describe(self.name)}

    def check(self, draft: Draft) -> None:
        """See `Strategy`."""
        fewest, most = self.num_references
        if not fewest <= len(draft.references) <= most:
            allowed = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise InputError(f"{draft.name}: {self.name!r} takes {allowed} references, not {len(draft.references)}")
        if not draft.prompt.strip() and not draft.references:
            raise InputError(f"{draft.name}: the prompt is empty and there is no reference; give one of them")
        scheduler = self.settings_of(draft).scheduler
        if scheduler is not None:  # which of them fit is known from the model
            self.model.pipeline(self.name)
            self.model.scheduler(scheduler)

    def bucket(self, draft: Draft) -> Hashable:
        """See `Strategy`."""
        # Whether there is a negative prompt counts: SDXL encodes none in another way than an empty one.
        shape = (self.canvas(draft), len(draft.references), bool(draft.negative_prompt))
        return self.settings_of(draft), shape

    def settings_of(self, draft: Draft) -> Any:
        """The strategy's settings with what the draft's request changes of them."""
        return changed_settings(self.settings, self.name, draft.settings.get(self.name, {}))

    def canvas(self, draft: Draft) -> Canvas:
        """The sizes of one picture: the shape of its first reference unless its settings say otherwise."""
        settings = self.settings_of(draft)
        pixels, multiple = self.working_area(draft)
        return plan_canvas(
            draft.references[0].size if draft.references else None,
            width=settings.width,
            height=settings.height,
            pixels=pixels,
            multiple=multiple,
        )

    def working_area(self, draft: Draft) -> tuple[int, int]:
        """Pixels that the model works at, and what sides have to be multiples of."""
        pipeline = self.model.pipeline(self.name)
        return self.settings_of(draft).pixels or _trained_pixels(pipeline), _multiple(pipeline)

    def render(
        self, drafts: Sequence[Draft], own: Sequence[Mapping[str, Any]], shared: Mapping[str, Any], *, task: str = ""
    ) -> list[Made]:
        """Runs a pipeline for drafts of one bucket; see `calls.render`. `task` is whose pipeline, if not its own."""
        settings = self.settings_of(drafts[0])
        pipeline = self.model.pipeline(task or self.name)
        pipeline.scheduler = self.model.scheduler(settings.scheduler)
        made = render(self.model, pipeline, settings, drafts, own, shared)
        result = self.canvas(drafts[0]).result
        return [
            replace(each, image=restore(each.image, result), facts={**each.facts, "size": list(result)})
            if each.image
            else each
            for each in made
        ]


def _multiple(pipeline: Any) -> int:
    """What sides have to be multiples of: the VAE's factor, and 2 × 2 latents a token where a transformer follows."""
    factor = getattr(pipeline, "vae_scale_factor", 8)
    processor = getattr(pipeline, "image_processor", None)
    if processor is not None and "vae_scale_factor" in processor.config:
        factor = max(factor, processor.config["vae_scale_factor"])
    return max(factor, 2 * pipeline.vae_scale_factor) if getattr(pipeline, "transformer", None) is not None else factor


def _trained_pixels(pipeline: Any) -> int:
    """The area that the model was trained at: its own sample size in latents, else 1024 × 1024."""
    unet = getattr(pipeline, "unet", None)
    sample = unet.config.sample_size if unet is not None else getattr(pipeline, "default_sample_size", None)
    if sample is None:
        return 1024 * 1024
    height, width = (sample, sample) if isinstance(sample, int) else sample
    return height * width * getattr(pipeline, "vae_scale_factor", 8) ** 2
