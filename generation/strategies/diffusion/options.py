"""Which model a strategy loads, on which device, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ..settings import check_choice, check_text

Dtype: TypeAlias = Literal["auto", "float32", "bfloat16", "float16"]
Offload: TypeAlias = Literal["none", "model", "sequential"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions:
    """Which model to load, and how.

    Attributes:
        name: a repository on the hub or a local folder with a `model_index.json`; empty for strategies that run no
            diffusers model.
        revision: branch, tag or commit of the repository; None for its main branch.
        variant: of the weight files, for example `fp16`; None for the default files.
        pipeline: the class that the index of the model must name, for example `StableDiffusionXLPipeline`; another
            class is refused. If it is given, `check_model` needs neither network nor files. None to accept any class.
        dtype: `auto` is bfloat16 on GPUs that have it, else float16; float32 on CPUs.
        device: `auto` (the first GPU, else the CPU), or a device as torch names it.
        offload: `model` keeps only the running part of the pipeline on the GPU; `sequential` keeps only the running
            layer there, which needs the least memory and is slow.

    Raises:
        InputError: if a value is not allowed.
    """

    name: str = ""
    revision: str | None = None
    variant: str | None = None
    pipeline: str | None = None
    dtype: Dtype = "auto"
    device: str = "auto"
    offload: Offload = "none"

    def __post_init__(self) -> None:
        check_text("revision", self.revision, optional=True)
        check_text("variant", self.variant, optional=True)
        check_text("pipeline", self.pipeline, optional=True)
        check_choice("dtype", self.dtype, get_args(Dtype))
        check_choice("offload", self.offload, get_args(Offload))
