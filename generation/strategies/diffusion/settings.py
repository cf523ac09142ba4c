"""The settings that all strategies over diffusers share."""

from __future__ import annotations

from dataclasses import dataclass

from ..settings import check_choice, check_number, check_text
from ..sizes import FITS, MOST_SIDE, Fit


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionSettings:
    """Settings of every strategy over diffusers.

    Attributes:
        steps: of denoising; None for the default of the pipeline.
        guidance: how strongly the prompt guides; None for the default of the pipeline. Negative prompts need a value
            above 1.
        scheduler: a diffusers class, for example `EulerDiscreteScheduler`; None for the scheduler of the model.
        pixels: the area that the model works at; None for the area that it was trained at.
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
    """Settings of strategies whose results may have another size than their references.

    Attributes:
        width: of the result in pixels. If only one of width and height is given, the other one follows the shape of
            the first reference; if neither is given, the result has the size that the model works at.
        height: of the result in pixels; see `width`.
        fit: `crop` or `pad` references of another shape.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        DiffusionSettings.__post_init__(self)
        check_number("width", self.width, 8, MOST_SIDE, whole=True, optional=True)
        check_number("height", self.height, 8, MOST_SIDE, whole=True, optional=True)
        check_choice("fit", self.fit, FITS)
