"""Models of diffusers by hub name or local folder: loading, sharing, and what they are.

Weights are read from safetensors only, and no code that comes with a model is run.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ....datasets.errors import InputError
from .loading import content_sha256, load_errors, quiet_loading, reason
from .options import ModelOptions
from .pipeline_classes import derived, indexed_class, model_index, pipeline_class

if TYPE_CHECKING:
    import torch

    from .adapters import Adapter


class Model:
    """A model and the pipelines over it, one of each class; all share its weights."""

    def __init__(self, options: ModelOptions) -> None:
        self.options = options
        self.adapter: Adapter | None = None  # once loaded, every pipeline over this UNet has to feed it
        self._classes: dict[str, Any] = {}
        self._pipelines: dict[type, Any] = {}
        self._schedulers: dict[str | None, Any] = {}
        self._revision: str | None = None
        self._active: type | None = None

    def pipeline(self, strategy: str) -> Any:
        """The pipeline for a strategy, loaded at the first call.

        Raises:
            InputError: if the model cannot be had or does not do that.
        """
        if strategy not in self._classes:
            named = indexed_class(model_index(self.options), self.options)
            self._classes[strategy] = pipeline_class(self.options, strategy, named)
        found = self._classes[strategy]
        if found not in self._pipelines:
            if self._pipelines:
                pipeline = derived(strategy, next(iter(self._pipelines.values())))
            else:
                pipeline = self._loaded(found)
                self._schedulers[None] = pipeline.scheduler
            self._check_channels(strategy, pipeline)
            pipeline.set_progress_bar_config(disable=True)
            self._pipelines[found] = pipeline
        self._activate(found)
        return self._pipelines[found]

    def scheduler(self, name: str | None) -> Any:
        """The model's own scheduler, or another with its configuration, by the name of its class.

        Raises:
            InputError: if the model cannot run with it.
        """
        if name not in self._schedulers:
            own = self._schedulers[None]
            fitting = {each.__name__: each for each in own.compatibles}
            if name not in fitting:
                allowed = ", ".join(sorted(fitting))
                raise InputError(f"scheduler {name!r} does not fit {self.options.name!r}; give one of: {allowed}")
            self._schedulers[name] = fitting[name].from_config(own.config)
        return self._schedulers[name]

    def describe(self, strategy: str) -> dict[str, Any]:
        """Model, revision, classes, precision, device and versions; loads the model."""
        pipeline = self.pipeline(strategy)
        where = self.device
        facts = {
            "model": self.options.name,
            "revision": self._revision,
            "variant": self.options.variant,
            "pipeline": type(pipeline).__name__,
            "scheduler": type(self.scheduler(None)).__name__,
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(where),
            "offload": self.options.offload,
            "versions": {name: importlib.metadata.version(name) for name in ("diffusers", "transformers", "torch")},
        }
        import torch

        if where.type == "cuda":
            facts["device_name"] = torch.cuda.get_device_name(where)
        else:  # sums of another number of threads are rounded otherwise
            facts["versions"]["threads"] = str(torch.get_num_threads())
        return facts

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        from ....indexing.encoders.torch_encoder import resolve_device

        return resolve_device(self.options.device)

    @property
    def dtype(self) -> torch.dtype:
        """The precision that it is loaded in."""
        import torch

        if self.options.dtype != "auto":
            return getattr(torch, self.options.dtype)
        if self.device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16

    def modules(self) -> list[torch.nn.Module]:
        """All parts with weights, of all pipelines, each once."""
        import torch

        parts = (part for pipeline in self._pipelines.values() for part in pipeline.components.values())
        return list({id(part): part for part in parts if isinstance(part, torch.nn.Module)}.values())

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Half precision is widened for a while; going back is exact, since every half is a float."""
        import torch

        tensors = [tensor for module in self.modules() for tensor in (*module.parameters(), *module.buffers())]
        halves = [(tensor, tensor.dtype) for tensor in tensors if tensor.dtype in (torch.float16, torch.bfloat16)]
        try:
            for tensor, _ in halves:
                tensor.data = tensor.data.float()
            yield
        finally:
            for tensor, dtype in halves:
                tensor.data = tensor.data.to(dtype)

    def _loaded(self, found: Any) -> Any:
        options = self.options
        where = self.device
        if options.offload != "none" and where.type == "cpu":
            raise InputError(f"offload={options.offload!r} needs a GPU and the device is cpu; give offload=none")
        try:
            folder = self._resolve(found)
            with quiet_loading():
                pipeline = found.from_pretrained(
                    folder, dtype=self.dtype, variant=options.variant, use_safetensors=True
                )
        except ImportError as error:  # transformers and diffusers say themselves what is missing
            raise InputError(
                f"model {options.name!r} needs a package that is not installed ({reason(error)}); "
                'run: pip install "diantu[generate]"'
            ) from error
        except load_errors() as error:
            raise InputError(
                f"model {options.name!r} cannot be loaded ({reason(error)}); give a repository that this machine can "
                "reach, or a folder with model_index.json and weights as safetensors"
            ) from error
        if hasattr(pipeline, "vae") and hasattr(pipeline.vae, "enable_slicing"):
            pipeline.vae.enable_slicing()  # one picture at a time: what it needs no longer grows with the batch
        return pipeline if options.offload != "none" else pipeline.to(where)

    def _check_channels(self, strategy: str, pipeline: Any) -> None:
        """Some UNets read a mask and a masked picture beside the latents, and cannot do without."""
        unet, vae = (getattr(pipeline, name, None) for name in ("unet", "vae"))
        if strategy == "inpaint" or unet is None or vae is None:
            return
        if unet.config.in_channels != vae.config.latent_channels:
            raise InputError(
                f"model {self.options.name!r} is made for inpainting alone: its UNet reads {unet.config.in_channels} "
                f"channels, not {vae.config.latent_channels}; give another model for {strategy!r}"
            )

    def _resolve(self, found: Any) -> Path:
        """The folder that holds the model, fetched from the hub if need be, and its revision."""
        options = self.options
        folder = Path(options.name)
        if folder.is_dir():
            self._revision = content_sha256(folder, folder.rglob("*"))
            return folder
        folder = Path(
            found.download(options.name, revision=options.revision, variant=options.variant, use_safetensors=True)
        )
        self._revision = folder.name  # the hub's cache names folders by commit
        return folder

    def _activate(self, found: type) -> None:
        """Offloading hooks belong to the pipeline that placed them, so they move when another one is to run."""
        if self.options.offload == "none" or self._active is found:
            return
        self._active = found
        if self.options.offload == "model":
            self._pipelines[found].enable_model_cpu_offload(device=self.device)
        else:
            self._pipelines[found].enable_sequential_cpu_offload(device=self.device)


_shared: WeakValueDictionary[ModelOptions, Model] = WeakValueDictionary()


def shared_model(options: ModelOptions) -> Model:
    """The model of these options, the same one for as long as anyone holds it: weights are in memory once.

    Raises:
        InputError: if no model is named.
    """
    if not options.name:
        raise InputError(
            "no model is given; name a repository on the hub or a folder of diffusers, say stabilityai/sd-turbo"
        )
    model = _shared.get(options)
    if model is None:
        model = _shared[options] = Model(options)
    return model
