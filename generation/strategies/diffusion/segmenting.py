"""Finds the subject of an image with a segmentation model of transformers, by name or local folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ....datasets.errors import InputError
from ....indexing.encoders.model_files import check_finite, check_settings
from .loading import load_errors, reason


class Segmenter:
    """Finds subjects with a semantic, instance or panoptic model, for example Mask2Former, DETR or SegFormer."""

    def __init__(self, name: str, *, device: Any) -> None:
        from transformers import pipeline

        self.name = name
        try:
            check_settings(f"segmenter {name!r}", name)
            self._segment: Any = pipeline(
                "image-segmentation", model=name, device=device, trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )  # fmt: skip
            check_finite(f"segmenter {name!r}", self._segment.model.state_dict())
        except InputError:
            raise
        except load_errors() as error:
            raise InputError(
                f"segmenter {name!r} cannot be loaded ({reason(error)}); give a segmentation model of transformers: a "
                "repository that this machine can reach, or a folder"
            ) from error
        self._labels = sorted(set(self._segment.model.config.id2label.values()))

    def subject_mask(self, image: Image.Image, labels: Sequence[str]) -> Image.Image | None:
        """Returns the mask of the subject: mode `L`, the size of the image, white on the subject; None without one.

        Args:
            image: RGB.
            labels: the labels of the model that make up the subject; empty for what covers most of the centre.

        Raises:
            InputError: if the model has no such label.
        """
        unknown = [label for label in labels if label not in self._labels]
        if unknown:
            known = ", ".join(self._labels[:20]) + (" …" if len(self._labels) > 20 else "")
            raise InputError(f"segmenter {self.name!r} has no label {unknown[0]!r}; it has: {known}")
        masks: dict[str, np.ndarray] = {}
        for segment in self._segment(image):
            mask_HW = np.asarray(segment["mask"]) > 127
            masks[segment["label"]] = masks.get(segment["label"], False) | mask_HW
        if not labels and masks:
            labels = [max(masks, key=lambda label: _in_the_middle(masks[label]))]
        chosen = [masks[label] for label in labels if label in masks and masks[label].any()]
        return Image.fromarray(np.any(chosen, axis=0).astype(np.uint8) * 255) if chosen else None


def _in_the_middle(mask_HW: np.ndarray) -> int:
    height, width = mask_HW.shape
    return int(mask_HW[height // 4 : height - height // 4, width // 4 : width - width // 4].sum())
