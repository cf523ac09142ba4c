"""Calls a pipeline for a batch of drafts: arguments, seeds, steps, and a second try for broken images."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..spec import Draft, Made
from .models import Model
from .pipeline_classes import call_parameters
from .prompts import Guidance, heeds_negative_prompt, negative_prompts, prompt_facts

if TYPE_CHECKING:
    from .settings import DiffusionSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PipelineCall:
    """One call of a pipeline: the drafts of a batch and their arguments.

    Attributes:
        model: the model of the pipeline.
        pipeline: is called once for the batch.
        settings: of the batch.
        drafts: of one bucket.
        own: for each draft the arguments that differ; `references` are images for an IP-Adapter.
        shared: the arguments that are equal for all drafts; `scales` are those of an IP-Adapter.
    """

    model: Model
    pipeline: Any
    settings: DiffusionSettings
    drafts: Sequence[Draft]
    own: Sequence[Mapping[str, Any]]
    shared: Mapping[str, Any]

    @property
    def takes(self) -> Mapping[str, Any]:
        """The parameters that the pipeline can be called with."""
        return call_parameters(type(self.pipeline))

    @property
    def steps_asked(self) -> int:
        """Steps from the settings, else the default of the pipeline."""
        return self.settings.steps or self.takes["num_inference_steps"].default

    @property
    def steps_given(self) -> int:
        """Steps that the pipeline is called with."""
        return enough_steps(self.steps_asked, self.shared.get("strength", 1.0))

    @property
    def guidance(self) -> Guidance:
        """How strongly the prompts guide."""
        return Guidance.of(self.takes, self.settings.guidance)

    def only(self, number: int) -> PipelineCall:
        """Returns the call for one draft alone."""
        return replace(self, drafts=[self.drafts[number]], own=[self.own[number]])

    def arguments(self) -> dict[str, Any]:
        """Returns the keyword arguments of the call, without those of an IP-Adapter."""
        import torch

        arguments = {name: value for name, value in self.shared.items() if name in self.takes}
        # One value per image, because diffusers silently pairs 3 values of one argument with 2 of another.
        for name in self.own[0]:
            if name != "references":
                arguments[name] = [each[name] for each in self.own]
        arguments["prompt"] = [draft.prompt for draft in self.drafts]
        # On the CPU and one per image, so that neither the device nor the batch changes the noise.
        arguments["generator"] = [torch.Generator("cpu").manual_seed(draft.seed) for draft in self.drafts]
        arguments["num_inference_steps"] = self.steps_given
        arguments["output_type"] = "np"  # floats, because a NaN converted to a byte is plain black
        arguments |= self.guidance.arguments()
        return arguments | negative_prompts(self.takes, self.guidance, self.drafts)


def render(call: PipelineCall) -> list[Made]:
    """Runs a pipeline for a batch. Images that come out broken are made again in float32, one by one.

    Half precision overflows in some VAEs, for example in the first one of SDXL, which gives black images:
    https://huggingface.co/madebyollin/sdxl-vae-fp16-fix.
    """
    import torch

    made = _run(call)
    model = call.model
    if model.dtype == torch.float32 or model.options.offload == "sequential":  # then the weights cannot be widened
        return made
    for number, first in enumerate(made):
        if "broken" not in first.facts:
            continue
        log.warning("%s in %s; diantu tries again in float32", first.problem, model.dtype)
        try:
            with model.in_float32():
                (again,) = _run(call.only(number))
        except torch.OutOfMemoryError:
            made[number] = replace(first, problem=f"{first.problem}, and the model in float32 does not fit into memory")
            continue
        retried = {"dtype": "float32", "because": first.facts["broken"]}
        made[number] = replace(again, facts={**again.facts, "retried": retried})
    return made


def enough_steps(steps: int, strength: float) -> int:
    """Returns the steps to ask for, so that at least one step is done.

    A pipeline that starts from an image does the last `int(steps × strength)` steps. If that is 0, it returns the image
    unchanged or raises.
    """
    steps = max(steps, math.ceil(1 / strength))
    return steps if int(steps * strength) >= 1 else steps + 1  # rounding may make 1/strength a little too small


def what_is_broken(rgb_HWC: np.ndarray) -> str:
    """Returns what is wrong with an image of floats from 0 to 1, as the end of a sentence; empty if nothing is."""
    if not np.isfinite(rgb_HWC).all():
        return "has values that are not numbers"
    if np.ptp(rgb_HWC, axis=(0, 1)).max() < 1 / 255:
        return "has the same colour everywhere"
    return ""


def _run(call: PipelineCall) -> list[Made]:
    """Calls the pipeline once and turns its output into results."""
    output, steps_done = _output(call)
    pipeline, takes = call.pipeline, call.takes
    facts = {
        "steps_asked": call.steps_asked,
        "steps_given": call.steps_given,
        "steps_done": steps_done or None,  # 0 if the pipeline takes no callback
        "guidance": call.guidance.scale,
        "scheduler": type(pipeline.scheduler).__name__,
        "size_worked": [output.images[0].shape[1], output.images[0].shape[0]],
    }
    is_heeded = heeds_negative_prompt(pipeline, takes, call.guidance)
    flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(call.drafts)
    return [
        _made(draft, rgb_HWC, is_flagged, {**facts, **prompt_facts(pipeline, takes, draft, is_heeded)})
        for draft, rgb_HWC, is_flagged in zip(call.drafts, output.images, flagged, strict=True)
    ]


def _output(call: PipelineCall) -> tuple[Any, int]:
    """Returns the output of the pipeline and the number of steps that it did."""
    import torch

    steps: list[int] = []

    def count(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.append(step)
        return {}

    arguments = call.arguments()
    if "callback_on_step_end" in call.takes:
        arguments["callback_on_step_end"] = count
    feeding = nullcontext({})
    if call.model.adapter is not None:
        references = [each["references"] for each in call.own] if "references" in call.own[0] else None
        scales = call.shared.get("scales", ())
        feeding = call.model.adapter.feeding(call.pipeline, references, scales, len(call.drafts))
    with feeding as fed, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        return call.pipeline(**arguments, **fed), len(steps)


def _made(draft: Draft, rgb_HWC: np.ndarray, is_flagged: bool, facts: dict[str, Any]) -> Made:
    facts = {"seed": draft.seed, **facts}
    if is_flagged:
        problem = f"{draft.name}: the safety checker of the model flagged the image as unsafe and blanked it"
        return Made(image=None, facts={**facts, "flagged": True}, problem=problem)
    broken = what_is_broken(rgb_HWC)
    if broken:
        return Made(image=None, facts={**facts, "broken": broken}, problem=f"{draft.name}: the image {broken}")
    return Made(image=Image.fromarray((rgb_HWC * 255).round().astype(np.uint8)), facts=facts)
