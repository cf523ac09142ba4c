"""Calling a pipeline of diffusers for a batch: seeds, steps, prompts, and pictures that come out broken."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..spec import Draft, Made
from .models import Model
from .pipeline_classes import call_parameters

if TYPE_CHECKING:
    from .settings import DiffusionSettings

log = logging.getLogger(__name__)


def render(
    model: Model,
    pipeline: Any,
    settings: DiffusionSettings,
    drafts: Sequence[Draft],
    own: Sequence[Mapping[str, Any]],
    shared: Mapping[str, Any],
) -> list[Made]:
    """Runs a pipeline for a batch, and again in float32, one by one, for pictures that came out broken.

    Half precision overflows in some VAEs, SDXL's first one among them, which gives black pictures:
    https://huggingface.co/madebyollin/sdxl-vae-fp16-fix.

    Args:
        model: whose pipeline it is.
        pipeline: called once for the batch.
        settings: of the batch.
        drafts: what the pictures are made from.
        own: for each draft the arguments that it has alone; `references` are pictures for an IP-Adapter.
        shared: arguments of all.
    """
    import torch

    made = _run(model, pipeline, settings, drafts, own, shared)
    if model.dtype == torch.float32 or model.options.offload == "sequential":  # whose weights are out of reach
        return made
    for number, first in enumerate(made):
        if "broken" not in first.facts:
            continue
        log.warning("%s in %s; once more in float32", first.problem, model.dtype)
        try:
            with model.in_float32():
                (again,) = _run(model, pipeline, settings, [drafts[number]], [own[number]], shared)
        except torch.OutOfMemoryError:
            made[number] = replace(first, problem=f"{first.problem}, and the model in float32 does not fit into memory")
            continue
        retried = {"dtype": "float32", "because": first.facts["broken"]}
        made[number] = replace(again, facts={**again.facts, "retried": retried})
    return made


def _run(
    model: Model,
    pipeline: Any,
    settings: DiffusionSettings,
    drafts: Sequence[Draft],
    own: Sequence[Mapping[str, Any]],
    shared: Mapping[str, Any],
) -> list[Made]:
    import torch

    takes = call_parameters(type(pipeline))
    asked = settings.steps or takes["num_inference_steps"].default
    arguments: dict[str, Any] = {name: value for name, value in shared.items() if name in takes}
    # As many of everything as there are pictures: 3 of one and 2 of another would be paired in silence.
    for name in own[0]:
        if name != "references":
            arguments[name] = [each[name] for each in own]
    arguments["prompt"] = [draft.prompt for draft in drafts]
    # On the CPU and one for each picture, so that neither the device nor the batch has a say in the noise.
    arguments["generator"] = [torch.Generator("cpu").manual_seed(draft.seed) for draft in drafts]
    arguments["num_inference_steps"] = enough_steps(asked, shared.get("strength", 1.0))
    arguments["output_type"] = "np"  # floats: in a picture of bytes a NaN is as black as night
    guidance, guiding = _guidance(takes, settings.guidance)
    arguments |= guiding
    arguments |= _negative_prompts(takes, guiding, guidance, drafts)

    steps: list[int] = []

    def count(pipeline: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.append(step)
        return {}

    if "callback_on_step_end" in takes:
        arguments["callback_on_step_end"] = count
    feeding = nullcontext({})
    if model.adapter is not None:
        references = [each["references"] for each in own] if "references" in own[0] else None
        feeding = model.adapter.feeding(pipeline, references, shared.get("scales", ()), len(drafts))
    with feeding as fed, torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        output = pipeline(**arguments, **fed)

    facts = {
        "steps_asked": asked,
        "steps_given": arguments["num_inference_steps"],
        "steps_done": len(steps) if steps else None,
        "guidance": guidance,
        "scheduler": type(pipeline.scheduler).__name__,
        "size_worked": [output.images[0].shape[1], output.images[0].shape[0]],
    }
    ignored = not _heeds_negative_prompt(pipeline, takes, guiding, guidance)
    flagged = getattr(output, "nsfw_content_detected", None) or [False] * len(drafts)
    return [
        _made(draft, rgb_HWC, is_flagged, {**facts, **_prompt_facts(pipeline, takes, draft, ignored)})
        for draft, rgb_HWC, is_flagged in zip(drafts, output.images, flagged, strict=True)
    ]


def _made(draft: Draft, rgb_HWC: np.ndarray, is_flagged: bool, facts: dict[str, Any]) -> Made:
    facts = {"seed": draft.seed, **facts}
    if is_flagged:
        problem = f"{draft.name}: the model's own safety checker took the picture for unsafe and blanked it"
        return Made(image=None, facts={**facts, "flagged": True}, problem=problem)
    broken = what_is_broken(rgb_HWC)
    if broken:
        return Made(image=None, facts={**facts, "broken": broken}, problem=f"{draft.name}: the picture {broken}")
    return Made(image=Image.fromarray((rgb_HWC * 255).round().astype(np.uint8)), facts=facts)


def enough_steps(steps: int, strength: float) -> int:
    """Steps to ask for so that one is done at least.

    A pipeline that starts from a picture does the last `int(steps × strength)` of them, which may be none: the picture
    comes back as it was, or an error does.
    """
    steps = max(steps, math.ceil(1 / strength))
    return steps if int(steps * strength) >= 1 else steps + 1  # 1/strength may be a little less than what is needed


def what_is_broken(rgb_HWC: np.ndarray) -> str:
    """What is wrong with a picture of floats from 0 to 1, as the end of a sentence; empty if nothing is."""
    if not np.isfinite(rgb_HWC).all():
        return "has values that are not numbers"
    if np.ptp(rgb_HWC, axis=(0, 1)).max() < 1 / 255:
        return "is of one colour throughout"
    return ""


def _guidance(takes: Mapping[str, Any], asked: float | None) -> tuple[float | None, dict[str, float]]:
    """The guidance in effect, and the argument that says so.

    Qwen's pipelines call theirs `true_cfg_scale`. Flux has that too, off by default, beside the distilled one.
    """
    name = "true_cfg_scale" if "true_cfg_scale" in takes and takes["true_cfg_scale"].default > 1 else "guidance_scale"
    if name not in takes:
        return None, {}
    value = takes[name].default if asked is None else asked
    return value, {} if value is None else {name: value}


def _negative_prompts(
    takes: Mapping[str, Any], guiding: Mapping[str, float], guidance: float | None, drafts: Sequence[Draft]
) -> dict[str, list[str]]:
    if "negative_prompt" not in takes:
        return {}
    if any(draft.negative_prompt for draft in drafts):
        return {"negative_prompt": [draft.negative_prompt for draft in drafts]}
    # Without one, Qwen's pipelines do not guide at all, whatever the scale.
    if "true_cfg_scale" in guiding and (guidance or 0) > 1:
        return {"negative_prompt": [" "] * len(drafts)}
    return {}


def _heeds_negative_prompt(
    pipeline: Any, takes: Mapping[str, Any], guiding: Mapping[str, float], guidance: float | None
) -> bool:
    if "negative_prompt" not in takes:
        return False
    if "true_cfg_scale" in takes:
        return "true_cfg_scale" in guiding and (guidance or 0) > 1
    # After the call, the pipeline knows best: distilled models do not guide, whatever the scale.
    return bool(getattr(pipeline, "do_classifier_free_guidance", (guidance or 0) > 1))


def _prompt_facts(pipeline: Any, takes: Mapping[str, Any], draft: Draft, negative_ignored: bool) -> dict[str, Any]:
    """What the model did not get of the prompts."""
    facts: dict[str, Any] = {}
    if draft.negative_prompt and negative_ignored:
        facts["negative_prompt_ignored"] = True
        log.warning(
            "%s: the negative prompt has no effect; %s heeds one only with a guidance above 1, if at all",
            draft.name,
            type(pipeline).__name__,
        )
    for name in ("prompt", "negative_prompt"):
        tokens, kept = prompt_tokens(pipeline, takes, getattr(draft, name))
        if kept is not None and tokens > kept:
            facts[f"{name}_cut"] = {"tokens": tokens, "kept": kept}
            which = name.replace("_", " ")
            log.warning("%s: the %s has %d tokens, of which the model reads %d", draft.name, which, tokens, kept)
    return facts


def prompt_tokens(pipeline: Any, takes: Mapping[str, Any], prompt: str) -> tuple[int, int | None]:
    """How many tokens a prompt has, and how many are read by the encoder that reads most; None for no limit.

    CLIP's encoders read 77, what marks beginning and end included, and diffusers cuts the rest.
    """
    if not prompt or getattr(pipeline, "processor", None) is not None:  # those of pictures and texts do not cut
        return 0, None
    found = []
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        tokenizer = getattr(pipeline, name, None)
        if tokenizer is not None:
            limit = tokenizer.model_max_length
            if "max_sequence_length" in takes and not type(tokenizer).__name__.startswith("CLIP"):
                limit = takes["max_sequence_length"].default
            found.append((limit, len(tokenizer(prompt, verbose=False)["input_ids"])))
    limit, tokens = max(found, default=(None, 0))
    return tokens, limit
