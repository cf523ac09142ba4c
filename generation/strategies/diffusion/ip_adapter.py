"""References as image tokens beside the prompt: they pass on their subject or style, not their layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....datasets.errors import InputError
from ..settings import as_tuple, check_number, check_text
from ..sizes import fit, flatten
from ..spec import Draft, Made
from .adapters import Adapter, AdapterOptions
from .base import Diffusion
from .img2img import ImageToImage
from .options import ModelOptions
from .pipeline_classes import PipelineTask
from .settings import SizedSettings

_MOST_REFERENCES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class IPAdapterSettings(SizedSettings):
    """Settings of ip_adapter. The defaults are the adapter for Stable Diffusion 1.5.

    Attributes:
        adapter: a repository or a local folder with adapters for UNets.
        adapter_revision: branch, tag or commit of the repository; None for its main branch.
        subfolder: of the weights in it.
        weight_names: safetensors files. A single file takes all references of an image; if there are several, each
            takes one reference, in order. The same file given twice gives two references scales of their own.
        image_encoder: the folder beside the weights; with a `/` in it, a path from the top of the repository.
        scales: the weight of each adapter beside the prompt; one for all, or one for each.
        strength: below 1, denoising also starts from the first reference, as in `img2img`.
    """

    adapter: str = "h94/IP-Adapter"
    adapter_revision: str | None = None
    subfolder: str = "models"
    weight_names: tuple[str, ...] = ("ip-adapter_sd15.safetensors",)
    image_encoder: str = "image_encoder"
    scales: tuple[float, ...] = (0.6,)
    strength: float = 1.0

    def __post_init__(self) -> None:
        SizedSettings.__post_init__(self)
        check_text("adapter", self.adapter)
        check_text("adapter_revision", self.adapter_revision, optional=True)
        check_text("image_encoder", self.image_encoder)
        check_number("strength", self.strength, 0.01, 1)
        names = as_tuple("weight_names", self.weight_names, str)
        scales = as_tuple("scales", self.scales, (int, float))
        for name in names:
            if not name.endswith(".safetensors"):
                raise InputError(
                    f"weight_names has {name!r}; give files of safetensors, because other formats may run code"
                )
        for scale in scales:
            check_number("scales", scale, 0, 2)
        if len(scales) not in (1, len(names)) or not names:
            raise InputError(f"there are {len(scales)} scales for {len(names)} weight_names; give one, or one for each")
        object.__setattr__(self, "weight_names", names)
        object.__setattr__(self, "scales", scales * len(names) if len(scales) == 1 else scales)

    @property
    def files(self) -> AdapterOptions:
        """The files to load."""
        return AdapterOptions(
            adapter=self.adapter, revision=self.adapter_revision, subfolder=self.subfolder,
            weight_names=self.weight_names, image_encoder=self.image_encoder,
        )  # fmt: skip


class IPAdapter(Diffusion[IPAdapterSettings]):
    """Runs the text-to-image pipeline of the model with an IP-Adapter in its UNet."""

    name = "ip_adapter"
    settings_type = IPAdapterSettings
    # Only with a UNet, because adapters of transformers are loaded and called in other ways.
    task = PipelineTask(
        strategy=name,
        kind="text to image",
        arguments=("height", "width", "ip_adapter_image_embeds"),
        needs_unet=True,
    )

    def __init__(self, settings: IPAdapterSettings, options: ModelOptions) -> None:
        super().__init__(settings, options)
        num_files = len(settings.weight_names)
        self.num_references = (1, _MOST_REFERENCES) if num_files == 1 else (num_files, num_files)

    def describe(self) -> dict[str, Any]:
        """See `Strategy`; loads model and adapter."""
        described = super().describe()
        return {**described, "adapter_revision": self._adapter(self.settings).revision}

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """See `Strategy`."""
        settings, canvas = self.settings_of(drafts[0]), self.canvas(drafts[0])
        self._adapter(settings)
        width, height = canvas.worked
        shared = {"width": width, "height": height, "scales": settings.scales}
        own: list[dict[str, Any]] = [
            {"references": [flatten(reference) for reference in draft.references]} for draft in drafts
        ]
        if settings.strength == 1:
            return self.render(drafts, own, shared)
        for each, draft in zip(own, drafts, strict=True):
            each["image"] = fit(draft.references[0], canvas, settings.fit)
        return self.render(drafts, own, {**shared, "strength": settings.strength}, task=ImageToImage.task)

    def _adapter(self, settings: IPAdapterSettings) -> Adapter:
        """Returns the adapter of these settings; loads it if the model has another one or none."""
        pipeline = self.model.pipeline(self.task)
        loaded = self.model.adapter
        if loaded is None or loaded.options != settings.files:
            if loaded is not None:
                loaded.unload()
                self.model.adapter = None
            self.model.adapter = loaded = Adapter(settings.files, pipeline)
        return loaded
