"""Which model a strategy loads, where it runs, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import check_choice, check_text

DTYPES = ("auto", "float32", "bfloat16", "float16")


OFFLOADS = ("none", "model", "sequential")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """What to load, and how.

    Attributes:
        name: of a repository on the hub, or a local folder, either with a `model_index.json`; empty for strategies that
            run no model of diffusers.
        revision: branch, tag or commit of the repository; None for its main branch.
        variant: of the weights' files, say `fp16`; None for the plain ones.
        pipeline: the class that the model's index names, say `StableDiffusionXLPipeline`. With it `check_model` needs
            neither the network nor files; a model whose index names another is refused. None to take what it names.
        dtype: `auto` is bfloat16 on GPUs that have it, else float16; float32 on CPUs.
        device: `auto` (the first GPU, else the CPU), or a device as torch names it.
        offload: `model` keeps on the GPU only the part of the pipeline that is running; `sequential` only the layer,
            which needs least memory and is slow.
    """

    name: str = ""
    revision: str | None = None
    variant: str | None = None
    pipeline: str | None = None
    dtype: str = "auto"
    device: str = "auto"
    offload: str = "none"

    def __post_init__(self) -> None:
        check_text("revision", self.revision, optional=True)
        check_text("variant", self.variant, optional=True)
        check_text("pipeline", self.pipeline, optional=True)
        check_choice("dtype", self.dtype, DTYPES)
        check_choice("offload", self.offload, OFFLOADS)
