"""The settings that all strategies of this room share."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import check_choice, check_number, check_text
from ..sizes import FITS


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionSettings:
    """What all of them can be told.

    Attributes:
        steps: of denoising; None for the pipeline's own number.
        guidance: how strongly the prompt guides; None for the pipeline's own. Negative prompts need more than 1.
        scheduler: class of diffusers, say `EulerDiscreteScheduler`; None for the model's own.
        pixels: the area that the model works at; None for the one that it was trained at.
    """

    steps: int | None = None
    guidance: float | None = None
    scheduler: str | None = None
    pixels: int | None = None

    def __post_init__(self) -> None:
        check_number("steps", self.steps, 1, 1000, whole=True, optional=True)
        check_number("guidance", self.guidance, 0, 100, optional=True)
        check_text("scheduler", self.scheduler, optional=True)
        check_number("pixels", self.pixels, 32 * 32, 4096 * 4096, whole=True, optional=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedSettings(DiffusionSettings):
    """What those can be told whose results may have another size than their references.

    Attributes:
        width: of the result in px; with one of width and height the other follows the first reference's shape, with
            neither the result is what the model has worked at.
        height: as `width`.
        fit: `crop` or `pad` a reference of another shape.
    """

    width: int | None = None
    height: int | None = None
    fit: str = "crop"

    def __post_init__(self) -> None:
        DiffusionSettings.__post_init__(self)
        check_number("width", self.width, 8, 16384, whole=True, optional=True)
        check_number("height", self.height, 8, 16384, whole=True, optional=True)
        check_choice("fit", self.fit, FITS)
