"""One picture of a run, all of it decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image

from ...datasets import SampleError, decode
from ..references.reference import Reference
from ..requests import WeightedText
from ..strategies.spec import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One picture of a run.

    Attributes:
        name: unique in the run, as `0007-1`; of its file, too.
        request: the name of its request.
        written: the prompt as the user wrote it; `prompt` is what the model is told.
        keywords: what a copywriter found in what was written, with weights.
        copywriter: who did, `offline` or a model's name; empty where there was none.
        query: the texts that its references were searched by, some with weights.
        mask: the path of one.
        status: `skipped` or `failed` where it is already known that it will not be made; else empty.
        reason: why it has no reference.
        bucket: pictures of one number may be made together.
        batch: pictures of one number are made together.
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
    status: str = ""
    reason: str = ""
    bucket: int = -1
    batch: int = -1

    def draft(self, images: Sequence[Image.Image], mask: Image.Image | None) -> Draft:
        """What a strategy gets."""
        return Draft(
            name=self.name, prompt=self.prompt, negative_prompt=self.negative_prompt, seed=self.seed,
            references=tuple(images), mask=mask, lines=self.lines, settings=self.settings,
        )  # fmt: skip

    def load(self) -> Draft:
        """The same with the pixels of its references and mask.

        Raises:
            FileNotFoundError: if they are gone, or not the ones any more that they were.
        """
        mask = None if self.mask is None else read_mask(self.mask)
        return self.draft([reference.image() for reference in self.references], mask)

    def outline(self) -> Draft:
        """The same with blank pictures of the same sizes, which is enough to check it; raises if the mask is gone."""
        mask = None if self.mask is None else read_mask(self.mask)
        return self.draft([_blank(reference.size) for reference in self.references], mask)

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Planned:
        """What `to_json` gave, read back."""
        references = [Reference(**{**given, "size": tuple(given["size"])}) for given in values["references"]]
        lists = {name: tuple(map(_frozen, values[name])) for name in ("lines", "keywords", "query")}
        return cls(**{**values, **lists, "references": tuple(references)})


@lru_cache(maxsize=64)
def _blank(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size)


def read_mask(path: str) -> Image.Image:
    """A mask, `L`.

    Raises:
        FileNotFoundError: if it cannot be read.
    """
    try:
        return Image.fromarray(decode(Path(path).read_bytes())).convert("L")
    except (OSError, SampleError) as error:
        raise FileNotFoundError(f"the mask {path} cannot be read ({error})") from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
