"""The base of all strategies that run a diffusers model: settings, checks, sizes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from ..base import BaseStrategy
from ..sizes import Canvas, plan_canvas, restore
from ..spec import Draft, DraftError, Made
from .calls import PipelineCall, render
from .models import shared_model
from .options import ModelOptions
from .pipeline_classes import PipelineTask
from .settings import DiffusionSettings

S = TypeVar("S", bound=DiffusionSettings)


class Diffusion(BaseStrategy[S]):
    """A strategy that runs a diffusers pipeline. A subclass declares its task and writes `make`.

    Attributes:
        task: what the strategy needs from the pipeline.
    """

    takes_model = True
    task: ClassVar[PipelineTask]

    def __init__(self, settings: S, options: ModelOptions) -> None:
        super().__init__(settings)
        self.model = shared_model(options)

    def describe(self) -> dict[str, Any]:
        """See `Strategy`; loads the model."""
        described = super().describe()
        del described["versions"]
        return {**described, **self.model.describe(self.task)}

    def check(self, draft: Draft) -> None:
        """See `Strategy`.

        Raises:
            InputError: if the draft has a wrong number of references, or a setting cannot be used.
            DraftError: if it has neither prompt nor reference: a search may have found none.
        """
        super().check(draft)
        if not draft.prompt.strip() and not draft.references:
            raise DraftError(f"{draft.name}: the prompt is empty and there is no reference; give one of them")
        scheduler = self.settings_of(draft).scheduler
        if scheduler is not None:  # the model knows which schedulers fit
            self.model.pipeline(self.task)
            self.model.scheduler(scheduler)

    def bucket(self, draft: Draft) -> Hashable:
        """See `Strategy`."""
        # Drafts with and without a negative prompt are kept apart, because SDXL encodes "none" and "empty" differently.
        shape = (self.canvas(draft), len(draft.references), bool(draft.negative_prompt))
        return self.settings_of(draft), shape

    def canvas(self, draft: Draft) -> Canvas:
        """Returns the sizes of one image: the shape of its first reference, unless the settings give another one."""
        settings = self.settings_of(draft)
        pixels, multiple = self.working_area(draft)
        return plan_canvas(
            draft.references[0].size if draft.references else None,
            width=getattr(settings, "width", None),
            height=getattr(settings, "height", None),
            pixels=pixels,
            multiple=multiple,
        )

    def working_area(self, draft: Draft) -> tuple[int, int]:
        """Returns the area in pixels that the model works at, and the number that its sides must be multiples of."""
        pipeline = self.model.pipeline(self.task)
        return self.settings_of(draft).pixels or _trained_pixels(pipeline), _multiple(pipeline)

    def render(
        self,
        drafts: Sequence[Draft],
        own: Sequence[Mapping[str, Any]],
        shared: Mapping[str, Any],
        *,
        task: PipelineTask | None = None,
    ) -> list[Made]:
        """Runs the pipeline for drafts of one bucket and restores the sizes of the results.

        Args:
            drafts: the batch.
            own: see `PipelineCall`.
            shared: see `PipelineCall`.
            task: whose pipeline runs; None for that of this strategy.
        """
        settings = self.settings_of(drafts[0])
        pipeline = self.model.pipeline(task or self.task)
        pipeline.scheduler = self.model.scheduler(settings.scheduler)
        made = render(
            PipelineCall(model=self.model, pipeline=pipeline, settings=settings, drafts=drafts, own=own, shared=shared)
        )
        result = self.canvas(drafts[0]).result
        return [
            replace(each, image=restore(each.image, result), facts={**each.facts, "size": list(result)})
            if each.image
            else each
            for each in made
        ]


def _multiple(pipeline: Any) -> int:
    """Returns the number that sides must be multiples of: the factor of the VAE; twice that with a transformer.

    A token of a transformer covers 2 × 2 latents.
    """
    factor = getattr(pipeline, "vae_scale_factor", 8)
    processor = getattr(pipeline, "image_processor", None)
    if processor is not None and "vae_scale_factor" in processor.config:
        factor = max(factor, processor.config["vae_scale_factor"])
    return max(factor, 2 * pipeline.vae_scale_factor) if getattr(pipeline, "transformer", None) is not None else factor


def _trained_pixels(pipeline: Any) -> int:
    """Returns the area that the model was trained at: its sample size in latents, else 1024 × 1024."""
    unet = getattr(pipeline, "unet", None)
    sample = unet.config.sample_size if unet is not None else getattr(pipeline, "default_sample_size", None)
    if sample is None:
        return 1024 * 1024
    height, width = (sample, sample) if isinstance(sample, int) else sample
    return height * width * getattr(pipeline, "vae_scale_factor", 8) ** 2
