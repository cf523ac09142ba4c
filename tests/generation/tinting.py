"""A small real strategy that tints the reference in a colour chosen by the seed. It can simulate failures."""

from __future__ import annotations

import sys
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from diantu.datasets import InputError
from diantu.generation import Draft, GenerationRequest, Made, RunOptions, generate

_SETTINGS = ("strength",)


@dataclass(slots=True)
class Tint:
    """Blends the reference (grey without one) with the colour of the seed by `strength`.

    Batches of more than `most` drafts run out of memory. Pictures with names in `black` come out black, and those in
    `broken` fail. A batch takes `seconds`. `batches` records the names that were made together.
    """

    strength: float = 0.5
    num_references: tuple[int, int] = (1, 1)
    name: str = "tint"
    most: int = 1000
    black: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    seconds: float = 0.0
    too_wide: int = 1 << 30
    batches: list[list[str]] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        settings = {"strength": self.strength}
        return {"strategy": self.name, "settings": settings, "versions": {"pillow": Image.__version__}}

    def unfit(self, size: tuple[int, int]) -> str:
        return f"has {size[0]} px of width; give less than {self.too_wide}" if size[0] >= self.too_wide else ""

    def check(self, draft: Draft) -> None:
        for setting, value in draft.settings.get(self.name, {}).items():
            if setting not in _SETTINGS or not 0 <= value <= 1:
                raise InputError(f"tint has {_SETTINGS} from 0 to 1, not {setting} {value}")

    def bucket(self, draft: Draft) -> Hashable:
        return tuple(reference.size for reference in draft.references)

    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        assert len({self.bucket(draft) for draft in drafts}) == 1
        self.batches.append([draft.name for draft in drafts])
        if len(drafts) > self.most:
            raise MemoryError(f"{len(drafts)} drafts. There is more to say")
        time.sleep(self.seconds)
        return [self._made(draft, len(drafts)) for draft in drafts]

    def _made(self, draft: Draft, num_together: int) -> Made:
        if draft.name in self.broken:
            return Made(image=None, problem="it came out as not a number")
        base = draft.references[0] if draft.references else Image.new("RGB", (64, 64), "grey")
        # A little more red for each draft of the batch: as on a GPU, the batch size changes pictures.
        red, green, blue = np.random.default_rng(draft.seed).integers(40, 200, 3).tolist()
        if draft.name in self.black:
            return Made(image=Image.new("RGB", base.size))
        strength = draft.settings.get(self.name, {}).get("strength", self.strength)
        colour = (red + num_together, green, blue)
        return Made(image=Image.blend(base, Image.new("RGB", base.size, colour), strength), facts={"colour": colour})


def requests_of(folder: Path, count: int) -> list[GenerationRequest]:
    """Returns requests that use the images of a folder in turn."""
    files = sorted(map(str, folder.glob("*.jpg")))
    return [GenerationRequest(prompt=f"prompt {i} 提示", files=[files[i % len(files)]]) for i in range(count)]


if __name__ == "__main__":
    pictures, output, number, pause = sys.argv[1:]
    generate(
        requests_of(Path(pictures), int(number)), output, Tint(seconds=float(pause)), options=RunOptions(batch_size=3)
    )
