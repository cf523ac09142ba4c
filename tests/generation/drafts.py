"""Drafts for strategies in tests, and functions that compare images."""

from __future__ import annotations

from typing import Any

import numpy as np
from pictures import picture

from diantu.generation.strategies import Draft, Made, ModelOptions, Strategy, load_strategies


def draft(number: int = 0, *, size: tuple[int, int] = (96, 64), references: Any = 1, **fields: Any) -> Draft:
    """Returns a draft; each number has its own references and seed. `references` may be a number of references."""
    given: dict[str, Any] = {"name": f"draft-{number}", "prompt": "a red panda", "seed": number}
    if isinstance(references, int):
        references = tuple(picture(10 * number + each, size) for each in range(references))
    given["references"] = references
    return Draft(**(given | fields))


def on_cpu(folder: Any) -> ModelOptions:
    """A model in float32 on the CPU, also on a machine with a GPU."""
    return ModelOptions(name=str(folder), device="cpu", dtype="float32")


def load(name: str, folder: Any, **settings: Any) -> Strategy:
    """Returns a strategy over a tiny model, with two steps by default, in the precision that comparisons need."""
    return load_strategies([name], {name: {"steps": 2, **settings}}, on_cpu(folder))


def pixels(made: Made) -> np.ndarray:
    assert made.image is not None, made.problem
    assert made.image.mode == "RGB"
    return np.asarray(made.image).astype(int)


def distance(one: Made, other: Made) -> float:
    """Returns the largest difference of any value, from 0 to 255."""
    return float(np.abs(pixels(one) - pixels(other)).max())
