"""Which class of diffusers runs a strategy for a model, known without its weights."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....datasets.errors import InputError
from .loading import reason

if TYPE_CHECKING:
    from .options import ModelOptions


@dataclass(frozen=True, slots=True)
class _Task:
    """How a strategy finds its class: among diffusers' classes of one kind, those that take all these arguments."""

    kind: tuple[str, str]
    arguments: tuple[str, ...]
    classes: tuple[str, ...] = ()  # where only some will do


# Kind → the class of diffusers that derives pipelines of it, and the table of them: family → class.
_TEXT = ("AutoPipelineForText2Image", "AUTO_TEXT2IMAGE_PIPELINES_MAPPING")
_IMAGE = ("AutoPipelineForImage2Image", "AUTO_IMAGE2IMAGE_PIPELINES_MAPPING")
_MASK = ("AutoPipelineForInpainting", "AUTO_INPAINT_PIPELINES_MAPPING")
_CALL = ("prompt", "num_inference_steps", "generator", "output_type")
_TASKS = {
    "text2img": _Task(_TEXT, (*_CALL, "height", "width")),
    "img2img": _Task(_IMAGE, (*_CALL, "image", "strength")),
    "inpaint": _Task(_MASK, (*_CALL, "image", "mask_image", "strength", "height", "width")),
    "ip_adapter": _Task(_TEXT, (*_CALL, "height", "width", "ip_adapter_image_embeds")),
    # Others of that kind take one reference, or one for each picture of the batch.
    "edit": _Task(
        _IMAGE,
        (*_CALL, "image", "height", "width"),
        ("Flux2KleinPipeline", "Flux2Pipeline", "QwenImageEditPlusPipeline"),
    ),
}


def check_model(options: ModelOptions, strategy: str) -> str:
    """Says without weights whether a model can run a strategy in the installed diffusers.

    Reads the model's index, of a few hundred bytes, unless `options.pipeline` names its class.

    Returns:
        The name of the class that would run.

    Raises:
        InputError: if the class does not exist, does not do that, or does not take what we give it.
    """
    return pipeline_class(options, strategy, options.pipeline or indexed_class(model_index(options), options)).__name__


def pipeline_class(options: ModelOptions, strategy: str, named: str) -> type:
    """The class for a strategy, in the family of the class that the index names."""
    if strategy not in _TASKS:
        raise InputError(f"{strategy!r} runs no model of diffusers; those that do: {', '.join(_TASKS)}")
    _require_packages(strategy)
    from diffusers.pipelines import auto_pipeline

    task = _TASKS[strategy]
    kinds = [value for name, value in vars(auto_pipeline).items() if name.endswith("PIPELINES_MAPPING")]
    families = [family for kind in kinds for family, found in kind.items() if found.__name__ == named]
    if not families:
        raise InputError(
            f"model {options.name!r} is a {named}, which the installed diffusers "
            f"{importlib.metadata.version('diffusers')} does not have among its pipelines for pictures; "
            "update diffusers or give another model"
        )
    candidates = [getattr(auto_pipeline, task.kind[1]).get(family) for family in families]
    found = next((each for each in candidates if each is not None), None)
    if found is None or (task.classes and found.__name__ not in task.classes):
        wanted = f"one of: {', '.join(task.classes)}" if task.classes else "a model that does"
        raise InputError(f"model {options.name!r} is a {named}, which does not do {strategy!r}; give {wanted}")
    # UNets alone: adapters of transformers are loaded and called in other ways.
    lacking = [name for name in task.arguments if name not in call_parameters(found)]
    if lacking or (strategy == "ip_adapter" and "unet" not in inspect.signature(found.__init__).parameters):
        why = f"takes no {lacking[0]!r}" if lacking else "has no UNet"
        raise InputError(
            f"model {options.name!r} runs as {found.__name__}, which {why}, so it cannot do {strategy!r}; "
            "give another model or strategy"
        )
    return found


def derived(strategy: str, pipeline: Any) -> Any:
    """The pipeline for another strategy over the same weights; the classes' own `from_pipe` turns them to float32."""
    import diffusers

    return getattr(diffusers, _TASKS[strategy].kind[0]).from_pipe(pipeline)


def call_parameters(pipeline_class: type) -> dict[str, inspect.Parameter]:
    """What a pipeline can be called with."""
    return dict(inspect.signature(pipeline_class.__call__).parameters)


def model_index(options: ModelOptions) -> dict[str, Any]:
    """The model's `model_index.json`.

    Raises:
        InputError: if it cannot be had.
    """
    folder = Path(options.name)
    try:
        if folder.is_dir():
            path = folder / "model_index.json"
        elif folder.is_absolute() or options.name.count("/") != 1 or options.name.startswith("."):
            raise InputError(
                f"model {options.name!r} is neither a folder nor a repository's name; give a folder that exists or "
                "<owner>/<name>"
            )
        else:
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(options.name, "model_index.json", revision=options.revision))
        index = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"the model_index.json of model {options.name!r} cannot be read ({reason(error)}); give a model of "
            "diffusers: a repository that this machine can reach, or a folder"
        ) from error
    return index


def indexed_class(index: dict[str, Any], options: ModelOptions) -> str:
    """The class that a model's index names.

    Raises:
        InputError: if it names none of diffusers, or another than `options.pipeline`.
    """
    named = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(named, str):
        raise InputError(
            f"the model_index.json of {options.name!r} names no class of diffusers (_class_name is {named!r}), and "
            "code that comes with a model is not run; give another model"
        )
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
