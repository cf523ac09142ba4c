"""A loaded diffusers model: its pipelines share the weights, and equal options share the model."""

from __future__ import annotations

import importlib.metadata
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ....datasets.errors import InputError
from .loading import load_pipeline
from .options import ModelOptions
from .pipeline_classes import PipelineTask, derived, indexed_class, model_index, pipeline_class
from .precision import in_float32, resolve_dtype

if TYPE_CHECKING:
    import torch

    from .adapters import Adapter


class Model:
    """A model and its pipelines, one per class; all of them share the weights."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options
        self.adapter: Adapter | None = None  # once loaded, every pipeline over this UNet must feed it
        self._classes: dict[PipelineTask, Any] = {}
        self._pipelines: dict[type, Any] = {}
        self._schedulers: dict[str | None, Any] = {}
        self._revision = ""
        self._active: type | None = None

    def pipeline(self, task: PipelineTask) -> Any:
        """Returns the pipeline for a task; the first call loads the weights.

        Raises:
            InputError: if the model cannot be loaded or does not support the task.
        """
        if task not in self._classes:
            named = indexed_class(model_index(self.options), self.options)
            self._classes[task] = pipeline_class(self.options, task, named)
        found = self._classes[task]
        if found not in self._pipelines:
            self._pipelines[found] = self._made(found, task)
        self._activate(found)
        return self._pipelines[found]

    def scheduler(self, name: str | None) -> Any:
        """Returns the scheduler of the model, or the scheduler of another class with the same configuration.

        Raises:
            InputError: if the model cannot run with a scheduler of that class.
        """
        if name not in self._schedulers:
            own = self._schedulers[None]
            fitting = {each.__name__: each for each in own.compatibles}
            if name not in fitting:
                allowed = ", ".join(sorted(fitting))
                raise InputError(f"scheduler {name!r} does not fit {self.options.name!r}; give one of: {allowed}")
            self._schedulers[name] = fitting[name].from_config(own.config)
        return self._schedulers[name]

    def describe(self, task: PipelineTask) -> dict[str, Any]:
        """Returns model, revision, classes, precision, device and versions; loads the model."""
        import torch

        pipeline = self.pipeline(task)
        device = self.device
        versions = {name: importlib.metadata.version(name) for name in ("diffusers", "transformers", "torch")}
        facts = {
            "model": self.options.name,
            "revision": self._revision,
            "variant": self.options.variant,
            "pipeline": type(pipeline).__name__,
            "scheduler": type(self.scheduler(None)).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(device),
            "offload": self.options.offload,
            "versions": versions,
        }
        if device.type == "cuda":
            facts["device_name"] = torch.cuda.get_device_name(device)
        else:  # the number of threads changes how sums are rounded
            versions["threads"] = str(torch.get_num_threads())
        return facts

    @property
    def device(self) -> torch.device:
        """The device that the model runs on."""
        from ....indexing.encoders.torch_encoder import resolve_device

        return resolve_device(self.options.device)

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the model is loaded in."""
        return resolve_dtype(self.options.dtype, self.device)

    def in_float32(self) -> AbstractContextManager[None]:
        """Widens the weights of all pipelines to float32 for a while."""
        import torch

        parts = (part for pipeline in self._pipelines.values() for part in pipeline.components.values())
        return in_float32({id(part): part for part in parts if isinstance(part, torch.nn.Module)}.values())

    def _made(self, found: type, task: PipelineTask) -> Any:
        """Loads the first pipeline, and derives further ones from it."""
        if self._pipelines:
            pipeline = derived(task, next(iter(self._pipelines.values())))
        else:
            pipeline, self._revision = load_pipeline(found, self.options, device=self.device, dtype=self.dtype)
            self._schedulers[None] = pipeline.scheduler
        _check_channels(pipeline, task, self.options)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _activate(self, found: type) -> None:
        """Moves the offloading hooks to the pipeline that runs next, because each pipeline places its own."""
        if self.options.offload == "none" or self._active is found:
            return
        self._active = found
        if self.options.offload == "model":
            self._pipelines[found].enable_model_cpu_offload(device=self.device)
        else:
            self._pipelines[found].enable_sequential_cpu_offload(device=self.device)


def _check_channels(pipeline: Any, task: PipelineTask, options: ModelOptions) -> None:
    """Refuses UNets for inpainting in other tasks: they also read a mask and a masked image beside the latents.

    Raises:
        InputError: if the model is such a one.
    """
    unet, vae = (getattr(pipeline, name, None) for name in ("unet", "vae"))
    if task.kind == "inpainting" or unet is None or vae is None:
        return
    if unet.config.in_channels != vae.config.latent_channels:
        raise InputError(
            f"model {options.name!r} is made for inpainting only: its UNet reads {unet.config.in_channels} channels, "
            f"not {vae.config.latent_channels}; give another model for {task.strategy!r}"
        )


_shared: WeakValueDictionary[ModelOptions, Model] = WeakValueDictionary()


def shared_model(options: ModelOptions) -> Model:
    """Returns the model of these options. As long as it is in use, it is the same object, so weights are loaded once.

    Raises:
        InputError: if no model is named.
    """
    if not options.name:
        raise InputError(
            "no model is given; name a repository on the hub or a folder with a diffusers model, for example "
            "stabilityai/sd-turbo"
        )
    model = _shared.get(options)
    if model is None:
        model = _shared[options] = Model(options)
    return model
