"""The fields of a request: how each value is read and checked, from Python, JSON or a CSV cell."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..datasets import InputError
from ..datasets.text import valid_text

MAX_SEED = 2**32 - 1  # the largest seed that both numpy and torch accept
SEPARATOR = "|"  # between several values in one cell of a CSV file

WeightedText: TypeAlias = "str | tuple[str, float]"
Reader: TypeAlias = Callable[[str, Any], Any]  # name of the field, value → the value as it is kept


def read_settings(name: str, value: Any) -> Mapping[str, Mapping[str, Any]]:
    """Reads settings of strategies: strategy → field → value.

    Raises:
        InputError: if they have another form, or values that JSON does not have.
    """
    if not isinstance(value, Mapping) or not all(isinstance(given, Mapping) for given in value.values()):
        raise _refused(name, value, "{strategy: {field: value}}")
    try:
        return json.loads(json.dumps(value))  # as the files of a run give them back: lists instead of tuples
    except (TypeError, ValueError) as error:
        raise _refused(name, value, "values that JSON has") from error


def parse_setting(name: str, value: Any) -> tuple[str, str, Any]:
    """Splits `strategy.field` and reads its value; returns strategy, field and value.

    A text is read as JSON if it is JSON, as a list if it has the form `[a, b]`, and stays a text otherwise. It is not
    read as YAML, which would take the colour `#fff` for a comment and `no` for false.

    Raises:
        InputError: if the name does not have the form `strategy.field`.
    """
    strategy, dot, setting = name.strip().partition(".")
    if not (strategy and dot and setting):
        raise InputError(f"the setting {name!r} does not name a field of a strategy; write it as img2img.strength")
    return strategy, setting, _parsed(value.strip()) if isinstance(value, str) else value


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        is_list = text.startswith("[") and text.endswith("]")
    return [_parsed(part.strip()) for part in text[1:-1].split(",")] if is_list and "[" not in text[1:] else text


def _refused(name: str, value: Any, allowed: str) -> InputError:
    shown = repr(value)
    return InputError(f"{name} is {shown if len(shown) <= 100 else shown[:99] + '…'}; give {allowed}")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refused(name, value, "a text")
    return valid_text(value).strip()


def _query(name: str, value: Any) -> WeightedText:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _text(name, value[0]), _number()(f"a weight of {name}", value[1])
    return _text(name, value)


def _optional(read: Reader) -> Reader:
    return lambda name, value: None if value is None else read(name, value)


def _number(low: float = -math.inf, high: float = math.inf, *, whole: bool = False) -> Reader:
    limits = f" from {low} to {high}" if high < math.inf else f" of {low} or more" if low > -math.inf else ""
    allowed = f"a {'whole ' if whole else ''}number{limits}"

    def read(name: str, value: Any) -> Any:
        try:
            number = (int if whole else float)(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise _refused(name, value, allowed) from error
        is_other = whole and isinstance(value, float) and value != number
        if isinstance(value, bool) or is_other or not (math.isfinite(number) and low <= number <= high):
            raise _refused(name, value, allowed)
        return number

    return read


def _several(read: Reader) -> Reader:
    def read_all(name: str, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [part for part in value.split(SEPARATOR) if part.strip()]
        if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
            value = [value]
        return tuple(read(name, part) for part in value)

    return read_all


# Field of `GenerationRequest` → what reads its value; raises InputError if the value is not allowed.
READERS: dict[str, Reader] = {
    "prompt": _text,
    "name": _text,
    "negative_prompt": _text,
    "num_pictures": _number(1, 10_000, whole=True),
    "seed": _optional(_number(0, MAX_SEED, whole=True)),
    "headline": _text,
    "subline": _text,
    "settings": read_settings,
    "queries": _several(_query),
    "k": _optional(_number(1, 100, whole=True)),
    "where": _optional(_text),
    "diversity": _number(0, 1),
    "min_zscore": _optional(_number()),
    "min_score": _optional(_number()),
    "rows": _several(_number(0, whole=True)),
    "files": _several(_text),
    "mask": _optional(_text),
}
