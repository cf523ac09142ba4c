"""Finds the diffusers class that runs a task for a model, without its weights."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ....datasets.errors import FileError, InputError
from ....datasets.files import read_bytes
from .components import check_index
from .loading import reason
from .options import ModelOptions

Kind: TypeAlias = Literal["text to image", "image to image", "inpainting"]

# Kind → the diffusers class that derives pipelines of this kind, and its table: family → class.
_KINDS: dict[Kind, tuple[str, str]] = {
    "text to image": ("AutoPipelineForText2Image", "AUTO_TEXT2IMAGE_PIPELINES_MAPPING"),
    "image to image": ("AutoPipelineForImage2Image", "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING"),
    "inpainting": ("AutoPipelineForInpainting", "AUTO_INPAINT_PIPELINES_MAPPING"),
}
_CALL = ("prompt", "num_inference_steps", "generator", "output_type")  # arguments of every call


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineTask:
    """What a strategy needs from a pipeline.

    Attributes:
        strategy: the name of the strategy, for messages.
        kind: of the pipeline.
        arguments: that its call must accept, beside those of every call.
        classes: the only classes that are suitable; empty for all classes of the kind.
        needs_unet: whether a pipeline without a UNet is refused.
    """

    strategy: str
    kind: Kind
    arguments: tuple[str, ...]
    classes: tuple[str, ...] = ()
    needs_unet: bool = False


def check_model(options: ModelOptions, task: PipelineTask) -> str:
    """Checks without weights whether a model can run a task with the installed diffusers.

    Reads the index of the model (a few hundred bytes), unless `options.pipeline` names its class.

    Returns:
        The name of the class that would run.

    Raises:
        InputError: if the class does not exist, does not support the task, or lacks an argument that it needs.
    """
    return pipeline_class(options, task, options.pipeline or indexed_class(model_index(options), options)).__name__


def pipeline_class(options: ModelOptions, task: PipelineTask, named: str) -> type:
    """Returns the class for a task, in the family of the class that the index names.

    Raises:
        InputError: if there is none, or it cannot run the task.
    """
    _require_packages(task.strategy)
    from diffusers.pipelines import auto_pipeline

    kinds = [value for name, value in vars(auto_pipeline).items() if name.endswith("PIPELINES_MAPPING")]
    families = [family for kind in kinds for family, found in kind.items() if found.__name__ == named]
    if not families:
        raise InputError(
            f"model {options.name!r} is a {named}, which the installed diffusers "
            f"{importlib.metadata.version('diffusers')} does not have among its pipelines for images; "
            "update diffusers or give another model"
        )
    candidates = [getattr(auto_pipeline, _KINDS[task.kind][1]).get(family) for family in families]
    found = next((each for each in candidates if each is not None), None)
    if found is None or (task.classes and found.__name__ not in task.classes):
        wanted = f"one of: {', '.join(task.classes)}" if task.classes else "a model that does"
        raise InputError(f"model {options.name!r} is a {named}, which does not do {task.strategy!r}; give {wanted}")
    lacking = [name for name in (*_CALL, *task.arguments) if name not in call_parameters(found)]
    if lacking or (task.needs_unet and "unet" not in inspect.signature(found.__init__).parameters):
        why = f"takes no {lacking[0]!r}" if lacking else "has no UNet"
        raise InputError(
            f"model {options.name!r} runs as {found.__name__}, which {why}, so it cannot do {task.strategy!r}; "
            "give another model or strategy"
        )
    return found


def derived(task: PipelineTask, pipeline: Any) -> Any:
    """Returns a pipeline for another task over the same weights.

    It uses the auto class because `from_pipe` of the pipeline classes converts the shared weights to float32.
    """
    import diffusers

    return getattr(diffusers, _KINDS[task.kind][0]).from_pipe(pipeline)


def call_parameters(pipeline_class: type) -> dict[str, inspect.Parameter]:
    """Returns the parameters of the call of a pipeline, by name."""
    return dict(inspect.signature(pipeline_class.__call__).parameters)


def model_index(options: ModelOptions) -> dict[str, Any]:
    """Reads the `model_index.json` of a model.

    Raises:
        InputError: if it cannot be read.
    """
    folder = Path(options.name)
    try:
        if folder.is_dir():
            path = folder / "model_index.json"
        elif folder.is_absolute() or options.name.count("/") != 1 or options.name.startswith("."):
            raise InputError(
                f"model {options.name!r} is neither a folder nor the name of a repository; give a folder that exists "
                "or <owner>/<name>"
            )
        else:
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(options.name, "model_index.json", revision=options.revision))
        index = json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError, FileError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the model_index.json of model {options.name!r} cannot be read ({reason(error)}); give a diffusers model: "
            "a repository that this machine can reach, or a folder"
        ) from error
    return index


def indexed_class(index: dict[str, Any], options: ModelOptions) -> str:
    """Returns the class that the index of a model names.

    Raises:
        InputError: if it is not a diffusers class, or another class than `options.pipeline`.
    """
    named = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(named, str):
        raise InputError(
            f"the model_index.json of {options.name!r} names no diffusers class (_class_name is {named!r}), and "
            "diantu does not run code that comes with a model; give another model"
        )
    check_index(index, options)
    if options.pipeline not in (None, named):
        raise InputError(f"model {options.name!r} is a {named}, not a {options.pipeline}; correct pipeline or name")
    return named


def _require_packages(strategy: str) -> None:
    missing = [name for name in ("diffusers", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"strategy {strategy!r} needs {', '.join(missing)}, which is not installed; "
            'run: pip install "diantu[generate]"'
        )
