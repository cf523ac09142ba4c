"""A base class for strategies, with defaults for all that most of them have in common."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Hashable, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, Generic, TypeVar

from ...datasets.errors import InputError
from .settings import changed_settings
from .spec import Draft, Made

S = TypeVar("S")


class BaseStrategy(Generic[S]):
    """A strategy with settings. A subclass declares the attributes below and writes `make_one` or `make`.

    >>> from dataclasses import dataclass
    >>> from PIL import Image, ImageOps
    >>> from diantu.generation import BaseStrategy, Draft, Made, check_number
    >>> @dataclass(frozen=True, slots=True, kw_only=True)
    ... class PosterizeSettings:
    ...     bits: int = 3
    ...
    ...     def __post_init__(self) -> None:
    ...         check_number("posterize.bits", self.bits, 1, 8, whole=True)
    >>> class Posterize(BaseStrategy[PosterizeSettings]):
    ...     name = "posterize"
    ...     settings_type = PosterizeSettings
    ...     packages = ("pillow",)
    ...
    ...     def make_one(self, draft: Draft, settings: PosterizeSettings) -> Made:
    ...         return Made(image=ImageOps.posterize(draft.references[0], settings.bits), facts={"bits": settings.bits})
    >>> draft = Draft(name="0001-1", prompt="", seed=0, references=(Image.new("RGB", (8, 8), "orange"),))
    >>> Posterize(PosterizeSettings(bits=1)).make([draft])[0].image.getpixel((0, 0))
    (128, 128, 0)

    Attributes:
        name: as users write it, also in `--set <name>.<field>=<value>`.
        settings_type: a frozen dataclass with a default for each field; its `__post_init__` checks the values.
        num_references: the smallest and the largest number of references for one image.
        packages: distributions whose versions change the images; `describe` records them.
        takes_model: whether the constructor takes `ModelOptions` as its second argument.
    """

    name: ClassVar[str]
    settings_type: ClassVar[type]
    num_references: tuple[int, int] = (1, 1)
    packages: ClassVar[tuple[str, ...]] = ()
    takes_model: ClassVar[bool] = False

    def __init__(self, settings: S) -> None:
        self.settings = settings

    def describe(self) -> dict[str, Any]:
        """Returns the name, the settings and the versions of `packages`. A run with other settings is another run."""
        settings = json.loads(json.dumps(asdict(self.settings)))  # type: ignore[call-overload] - lists, as in a manifest
        return {"strategy": self.name, "settings": settings, "versions": self.versions()}

    def versions(self) -> dict[str, str | None]:
        """Returns the installed versions of `packages`; None for one that is not installed."""
        return {package: _version(package) for package in self.packages}

    def unfit(self, size: tuple[int, int]) -> str:
        """Returns why an image of this width and height cannot be a reference; empty if it can. By default, all can."""
        del size
        return ""

    def check(self, draft: Draft) -> None:
        """Checks the number of references and the settings of a draft.

        Raises:
            InputError: if either cannot be used.
        """
        fewest, most = self.num_references
        if not fewest <= len(draft.references) <= most:
            allowed = reference_range(fewest, most)
            raise InputError(f"{draft.name}: {self.name!r} takes {allowed}, not {len(draft.references)}")
        self.settings_of(draft)

    def bucket(self, draft: Draft) -> Hashable:
        """Returns the settings of a draft: by default, images with equal settings may share a batch."""
        return self.settings_of(draft)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        """Makes each draft on its own. Override it if the strategy can make several at once."""
        return [self.make_one(draft, self.settings_of(draft)) for draft in drafts]

    def make_one(self, draft: Draft, settings: S) -> Made:
        """Makes one image. `settings` are those of this draft: its request may have changed some of them."""
        raise NotImplementedError(f"{type(self).__name__} must define make_one or make")

    def settings_of(self, draft: Draft) -> S:
        """Returns the settings of the strategy with the changes that the request of the draft asks for.

        Raises:
            InputError: if a field does not exist or a value is out of range.
        """
        return changed_settings(self.settings, self.name, draft.settings.get(self.name, {}))


def reference_range(fewest: int, most: int) -> str:
    """Returns a number of references in words, for messages."""
    if most == 0:
        return "no reference"
    if fewest == most:
        return "1 reference" if most == 1 else f"{most} references"
    return f"{fewest} to {most} references"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
