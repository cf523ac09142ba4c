"""What a pipeline makes of prompts: guidance, negative prompts, and how many tokens it reads."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec import Draft

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guidance:
    """How strongly the prompt guides a call.

    Attributes:
        argument: the parameter of the call that takes the scale; empty if the pipeline has none.
        scale: the value in effect; None if the pipeline decides.
    """

    argument: str
    scale: float | None

    @classmethod
    def of(cls, takes: Mapping[str, Any], asked: float | None) -> Guidance:
        """Returns the guidance of a pipeline.

        The pipelines of Qwen name the parameter `true_cfg_scale`. Flux also has that one, off by default, beside the
        scale that is distilled into the model.

        Args:
            takes: the parameters of the call.
            asked: the scale from the settings; None for the default of the pipeline.
        """
        is_true_cfg = "true_cfg_scale" in takes and takes["true_cfg_scale"].default > 1
        name = "true_cfg_scale" if is_true_cfg else "guidance_scale"
        if name not in takes:
            return cls(argument="", scale=None)
        return cls(argument=name, scale=takes[name].default if asked is None else asked)

    def arguments(self) -> dict[str, float]:
        """Returns the arguments for the call."""
        return {self.argument: self.scale} if self.argument and self.scale is not None else {}

    @property
    def is_true_cfg(self) -> bool:
        """Whether the call guides by `true_cfg_scale`, with a scale that has an effect."""
        return self.argument == "true_cfg_scale" and (self.scale or 0) > 1


def negative_prompts(takes: Mapping[str, Any], guidance: Guidance, drafts: Sequence[Draft]) -> dict[str, list[str]]:
    """Returns the argument with the negative prompts of a batch; empty if the pipeline takes or needs none."""
    if "negative_prompt" not in takes:
        return {}
    if any(draft.negative_prompt for draft in drafts):
        return {"negative_prompt": [draft.negative_prompt for draft in drafts]}
    # Without a negative prompt, the pipelines of Qwen do not guide at all, whatever the scale.
    return {"negative_prompt": [" "] * len(drafts)} if guidance.is_true_cfg else {}


def heeds_negative_prompt(pipeline: Any, takes: Mapping[str, Any], guidance: Guidance) -> bool:
    """Returns whether a negative prompt had an effect in the last call of the pipeline."""
    if "negative_prompt" not in takes:
        return False
    if "true_cfg_scale" in takes:
        return guidance.is_true_cfg
    # Ask the pipeline after the call, because distilled models do not guide, whatever the scale.
    return bool(getattr(pipeline, "do_classifier_free_guidance", (guidance.scale or 0) > 1))


def prompt_facts(pipeline: Any, takes: Mapping[str, Any], draft: Draft, is_negative_heeded: bool) -> dict[str, Any]:
    """Returns what the model did not read of the prompts of a draft, and warns about it."""
    facts: dict[str, Any] = {}
    if draft.negative_prompt and not is_negative_heeded:
        facts["negative_prompt_ignored"] = True
        log.warning(
            "%s: the negative prompt has no effect; %s needs a guidance above 1 for it, or does not support it",
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
    """Returns the number of tokens of a prompt, and the limit of the text encoder that reads most (None for no limit).

    The encoders of CLIP read 77 tokens, including those for start and end; diffusers cuts the rest.
    """
    if not prompt or getattr(pipeline, "processor", None) is not None:  # processors of images and texts do not cut
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
