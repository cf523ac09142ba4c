"""One picture of the plan of a run, with all decisions about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

from PIL import Image

from ...datasets import PixelsError, SampleError
from ...datasets.decoding import decode_guarded, read_file
from ..references.reference import Reference
from ..requests import WeightedText
from ..strategies.spec import Draft

PlannedStatus: TypeAlias = Literal["", "skipped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One picture of the plan.

    Attributes:
        name: unique in the run, for example `0007-1`; also the name of its file.
        request: the name of its request.
        written: the prompt as the user wrote it.
        prompt: the prompt for the model.
        negative_prompt: what the model should avoid.
        seed: of this picture.
        lines: the copy that may be drawn on the picture, headline first.
        settings: changes of the settings of strategies: strategy → field → value.
        keywords: what a copywriter found in `written`, with weights.
        copywriter: `offline` or the name of a model; empty without a copywriter.
        query: the texts that its references were searched by, some with weights.
        references: the images that it is made from.
        mask: the path of a mask.
        status: `skipped` or `failed` if the plan already says that it is not made; else empty.
        reason: why it has no reference.
        bucket: pictures with the same number may share a batch.
        batch: pictures with the same number are made together.
    """

    name: str
    request: str
    written: str
    prompt: str
    negative_prompt: str
    seed: int
    lines: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    keywords: tuple[tuple[str, float], ...] = ()
    copywriter: str = ""
    query: tuple[WeightedText, ...] = ()
    references: tuple[Reference, ...] = ()
    mask: str | None = None
    status: PlannedStatus = ""
    reason: str = ""
    bucket: int = -1
    batch: int = -1

    def draft(self, images: Sequence[Image.Image], mask: Image.Image | None) -> Draft:
        """Returns the input for a strategy, with these reference images and mask."""
        return Draft(
            name=self.name, prompt=self.prompt, negative_prompt=self.negative_prompt, seed=self.seed,
            references=tuple(images), mask=mask, lines=self.lines, settings=self.settings,
        )  # fmt: skip

    def load(self) -> Draft:
        """Returns the input for a strategy, with the pixels of references and mask.

        Raises:
            PixelsError: if a file is missing, or has changed since the run was planned.
        """
        mask = None if self.mask is None else read_mask(self.mask)
        return self.draft([reference.image() for reference in self.references], mask)

    def outline(self) -> Draft:
        """Returns the input with blank images of the same sizes, which is enough for `Strategy.check`.

        Raises:
            PixelsError: if the mask is missing.
        """
        mask = None if self.mask is None else read_mask(self.mask)
        return self.draft([_blank(reference.size) for reference in self.references], mask)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Planned:
        """Reads what `to_json` returned."""
        references = [Reference(**{**given, "size": tuple(given["size"])}) for given in values["references"]]
        lists = {name: tuple(map(_frozen, values[name])) for name in ("lines", "keywords", "query")}
        return cls(**{**values, **lists, "references": tuple(references)})


@lru_cache(maxsize=64)
def _blank(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size)


def read_mask(path: str) -> Image.Image:
    """Reads a mask as mode `L`.

    Raises:
        PixelsError: if it cannot be read.
    """
    try:
        return Image.fromarray(decode_guarded(read_file(path)).rgb_HWC).convert("L")
    except (OSError, SampleError) as error:
        raise PixelsError(f"the mask {path} cannot be read ({error})") from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
