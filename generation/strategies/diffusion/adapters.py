"""IP-Adapters: image tokens of references beside the tokens of the prompt (Ye et al. 2023, arXiv 2308.06721)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from PIL import Image

from ....datasets.errors import InputError
from ....indexing.encoders.model_files import check_finite, check_settings, check_weights
from .loading import content_sha256, load_errors, reason

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterOptions:
    """The files of an adapter; see `IPAdapterSettings`."""

    adapter: str
    revision: str | None
    subfolder: str
    weight_names: tuple[str, ...]
    image_encoder: str

    @property
    def encoder_folder(self) -> str:
        """The folder of the image encoder: beside the weights, unless `image_encoder` is a path."""
        if "/" in self.image_encoder:
            return self.image_encoder
        return PurePosixPath(self.subfolder, self.image_encoder).as_posix()


class Adapter:
    """The adapters in the UNet of a model.

    A UNet with adapters needs image tokens in every call of every pipeline. If a call has no references, `feeding`
    passes tokens of a black image at scale 0, which have no effect.
    """

    def __init__(self, options: AdapterOptions, pipeline: Any) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

        self.options = options
        self._pipeline = pipeline  # it has the image encoder; pipelines made before it do not
        try:
            folder, self.revision = _resolve(options)
            what, place = f"the image encoder of adapter {options.adapter!r}", folder / options.encoder_folder
            check_settings(what, str(place))
            config = CLIPVisionConfig.from_pretrained(place)
            check_weights(what, CLIPVisionModelWithProjection, config, str(place))
            for name in options.weight_names:
                _check_adapter(f"{name} of adapter {options.adapter!r}", folder / options.subfolder / name)
            encoder: Any = CLIPVisionModelWithProjection.from_pretrained(
                place, use_safetensors=True, dtype=pipeline.unet.dtype
            )
            check_finite(what, encoder.state_dict())
            pipeline.register_modules(image_encoder=encoder.to(pipeline.unet.device))
            pipeline.load_ip_adapter(
                str(folder), subfolder=options.subfolder, weight_name=list(options.weight_names),
                image_encoder_folder=None,
            )  # fmt: skip
        except InputError:
            raise
        except load_errors() as error:
            raise InputError(
                f"adapter {options.adapter!r} cannot be loaded ({reason(error)}); give a repository that this machine "
                "can reach or a folder, its subfolder, weight_names and image_encoder, and one made for this model"
            ) from error

    def unload(self) -> None:
        """Removes the adapters from the UNet."""
        self._pipeline.unload_ip_adapter()

    @contextmanager
    def feeding(
        self, pipeline: Any, references: Sequence[Sequence[Image.Image]] | None, scales: Sequence[float], num: int
    ) -> Iterator[dict[str, Any]]:
        """Yields the arguments of a call, so that each image of the batch has its own references.

        diffusers takes one set of references for the whole batch and repeats it:
        https://github.com/huggingface/diffusers/issues/9813. This replaces the method that repeats it, for one call.

        Args:
            pipeline: the pipeline that is called.
            references: for each image, the same number of references; None if the call has none.
            scales: one per adapter.
            num: images in the batch.
        """
        black = (Image.new("RGB", (8, 8)),) * len(self.options.weight_names)
        self._pipeline.set_ip_adapter_scale(list(scales) if references else [0.0] * len(self.options.weight_names))
        tokens = [self._encode(each) for each in references or [black]]

        def prepare_ip_adapter_image_embeds(
            ip_adapter_image: Any,
            ip_adapter_image_embeds: Any,
            device: torch.device,
            num_images_per_prompt: int,
            do_classifier_free_guidance: bool,
        ) -> list[torch.Tensor]:
            return [
                _batched([each[number] for each in tokens], num, do_classifier_free_guidance)
                for number in range(len(self.options.weight_names))
            ]

        pipeline.prepare_ip_adapter_image_embeds = prepare_ip_adapter_image_embeds
        try:
            yield {"ip_adapter_image_embeds": [wanted for wanted, _ in tokens[0]]}
        finally:
            del pipeline.prepare_ip_adapter_image_embeds

    def _encode(self, references: Sequence[Image.Image]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Encodes the references of one image.

        Returns:
            For each adapter a pair of embeddings, positive and negative, `1 × references × …`. A single adapter gets
            all references; if there are several, each gets one.
        """
        import torch
        from diffusers.models.embeddings import ImageProjection

        layers = self._pipeline.unet.encoder_hid_proj.image_projection_layers
        shares = [list(references)] if len(layers) == 1 else [[reference] for reference in references]
        encoded = []
        with torch.no_grad():
            for layer, share in zip(layers, shares, strict=True):
                wanted, unwanted = self._pipeline.encode_image(
                    share, self._pipeline._execution_device, 1, not isinstance(layer, ImageProjection)
                )
                encoded.append((wanted[None], unwanted[None]))
        return encoded


def _batched(rows: Sequence[tuple[torch.Tensor, torch.Tensor]], num: int, guided: bool) -> torch.Tensor:
    import torch

    wanted, unwanted = (torch.cat(list(side)) for side in zip(*rows, strict=True))
    batch = torch.cat([unwanted, wanted]) if guided and len(rows) == num else wanted
    if len(rows) < num:  # the black image, for all
        batch = wanted.repeat_interleave(2 * num if guided else num, dim=0)
    return batch


def _check_adapter(what: str, path: Path) -> None:
    """Checks that the weights of an adapter are numbers, one tensor at a time."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 - the file is no mapping
            check_finite(what, {name: file.get_tensor(name)})


def _resolve(options: AdapterOptions) -> tuple[Path, str]:
    """Returns the folder of the adapter, downloaded if necessary, and its revision."""
    weights = [PurePosixPath(options.subfolder, name).as_posix() for name in options.weight_names]
    folder = Path(options.adapter)
    if folder.is_dir():
        paths = [*(folder / name for name in weights), *(folder / options.encoder_folder).glob("*")]
        return folder, content_sha256(folder, paths)
    from huggingface_hub import snapshot_download

    wanted = [*weights, f"{options.encoder_folder}/config.json", f"{options.encoder_folder}/*.safetensors"]
    folder = Path(snapshot_download(options.adapter, revision=options.revision, allow_patterns=wanted))
    return folder, folder.name
