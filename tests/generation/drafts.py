"""Drafts that tests hand to strategies, and how pictures are compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from pictures import picture

from diantu.generation.strategies import Draft, Made, ModelOptions, Strategy, load_strategies


def draft(number: int = 0, *, size: tuple[int, int] = (96, 64), references: Any = 1, **fields: Any) -> Draft:
    """Every number has references and a seed of its own; `references` may be how many."""
    given: dict[str, Any] = {"name": f"draft-{number}", "prompt": "a red panda", "seed": number}
    if isinstance(references, int):
        references = tuple(picture(10 * number + each, size) for each in range(references))
    given["references"] = references
    return Draft(**(given | fields))


def load(name: str, folder: Any, **settings: Any) -> Strategy:
    """A strategy over a tiny model, with two steps unless told."""
    return load_strategies([name], {name: {"steps": 2, **settings}}, ModelOptions(name=str(folder)))


def pixels(made: Made) -> np.ndarray:
    assert made.image is not None, made.problem
    assert made.image.mode == "RGB"
    return np.asarray(made.image).astype(int)


def distance(one: Made, other: Made) -> float:
    """The largest difference of any value, of 255."""
    return float(np.abs(pixels(one) - pixels(other)).max())
