"""What is asked for: a prompt, how its references are found, what is to be made of them; from files or in Python."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from ..datasets import InputError
from ..datasets.text import decode_text

MAX_SEED = 2**32 - 1  # what numpy's and torch's generators both take
WeightedText: TypeAlias = "str | tuple[str, float]"

_MAX_NAME = 100
# Between several values in a cell of a CSV file.
_BETWEEN = "|"


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt, and all that is asked for with it.

    A field may also be given as the text that a CSV file has for it; where several values are allowed, one alone may be
    given.

    Attributes:
        prompt: what is to be seen; with a copywriter, the advertising copy.
        name: unique in a run and fit for a file's name; by default the number of the request, as `0007`.
        negative_prompt: what is to be avoided.
        num_pictures: how many pictures are made of it.
        seed: of the first picture, the next one has the next seed; by default they follow from the run's seed and the
            prompt.
        headline: copy that may be set on the picture.
        subline: copy that may be set below it.
        settings: what these pictures change of the strategies' settings: strategy → field → value.
        queries: the texts that references are searched by, mixed, each alone or as (text, weight); by default the
            prompt.
        k: references a picture; by default as few as the strategy allows, and at least 1 if it allows any.
        where: a SQL condition over the gallery's metadata that references meet.
        diversity: 0 to 1: prefer references that are unlike each other.
        min_zscore: references below this zscore are not good enough.
        min_score: references below this score are not good enough.
        rows: the references, by their rows in the gallery: nothing is searched then.
        files: the references, or further ones behind the rows, by paths.
        mask: the path of a picture of the reference's size, white where it is to be made anew.

    Raises:
        InputError: if a value is not allowed.
    """

    prompt: str = ""
    name: str = ""
    negative_prompt: str = ""
    num_pictures: int = 1
    seed: int | None = None
    headline: str = ""
    subline: str = ""
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    queries: Sequence[WeightedText] = ()
    k: int | None = None
    where: str | None = None
    diversity: float = 0.0
    min_zscore: float | None = None
    min_score: float | None = None
    rows: Sequence[int] = ()
    files: Sequence[str] = ()
    mask: str | None = None

    def __post_init__(self) -> None:
        for name, read in _READERS.items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        if self.name and not _fits_a_file(self.name):
            raise InputError(
                f"the name {self.name!r} cannot be a file's; give letters, digits, spaces and _ - . (not first), "
                f"{_MAX_NAME} at most"
            )
        if not (self.prompt.strip() or self.queries or self.rows or self.files):
            raise InputError("there is no prompt; say what is to be seen, or give queries, rows or files of references")
        if self.mask and len(self.rows) + len(self.files) != 1:
            raise InputError("a mask belongs to one picture; give that reference by rows or files")

    @property
    def lines(self) -> tuple[str, ...]:
        """The copy that may be set on the picture, headline first."""
        return tuple(line for line in (self.headline, self.subline) if line)

    def to_json(self) -> dict[str, Any]:
        """The fields that say something, as JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


def read_requests(path: str | Path, **defaults: Any) -> list[GenerationRequest]:
    """Reads requests from a file: `.txt` has a prompt a line, `.jsonl` an object of fields, `.csv` a column a field.

    A column or field `strategy.field` changes that one setting of a strategy. Several values in a cell of a CSV file
    are divided by `|`, and an empty cell says nothing. Paths are relative to the file's folder.

    Args:
        path: the file; UTF-8 or GB 18030.
        defaults: fields of the requests that do not have their own.

    Raises:
        InputError: naming the file and the line, if one cannot be used.
    """
    path = Path(path)
    found = []
    for line, record in _records(path):
        try:
            found.append(_request({**defaults, **record}, path.parent))
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
    if not found:
        raise InputError(f"the prompts {path} are empty; give one a line")
    return found


def parse_setting(name: str, value: Any) -> tuple[str, str, Any]:
    """`strategy.field` and a value → strategy, field and value.

    A text is read as JSON where it is that, as a list where it is written `[a, b]`, and stays a text otherwise: all of
    YAML would take the colour `#fff` for a comment, and `no` for false.

    Raises:
        InputError: if the name is not one of a strategy's field.
    """
    strategy, dot, setting = name.strip().partition(".")
    if not (strategy and dot and setting):
        raise InputError(f"the setting {name!r} names no strategy's field; write it as img2img.strength")
    return strategy, setting, _value(value.strip()) if isinstance(value, str) else value


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        is_list = text.startswith("[") and text.endswith("]")
    return [_value(part.strip()) for part in text[1:-1].split(",")] if is_list and "[" not in text[1:] else text


def named(requests: Sequence[GenerationRequest]) -> list[tuple[str, GenerationRequest]]:
    """The requests with their names: their own, or their numbers, from 0001 on.

    Raises:
        InputError: if two would have the same name on a file system that ignores case.
    """
    width = max(4, len(str(len(requests))))
    found = [(request.name or f"{number:0{width}}", request) for number, request in enumerate(requests, start=1)]
    seen: dict[str, int] = {}
    for number, (name, _) in enumerate(found, start=1):
        if (other := seen.setdefault(name.casefold(), number)) != number:
            raise InputError(f"the requests {other} and {number} have the same name {name!r}; give each its own")
    return found


def _records(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """The lines of a file that hold a request, by their numbers, as fields."""
    read = _RECORDS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"the prompts {path} end in none of {', '.join(_RECORDS)}; name them so, by what they hold")
    try:
        return list(read(decode_text(path.read_bytes())))
    except OSError as error:
        raise InputError(f"the prompts {path} cannot be read ({error.strerror})") from error
    except (csv.Error, ValueError, RecursionError) as error:
        raise InputError(f"the prompts {path} cannot be understood: {error}") from error


def _request(record: Mapping[str, Any], folder: Path) -> GenerationRequest:
    """A record of a file → a request; fields that are None say nothing."""
    values = {name: value for name, value in record.items() if value is not None}
    settings = {strategy: {**given} for strategy, given in _settings("settings", values.pop("settings", {})).items()}
    for name in list(values):
        if "." in name:
            strategy, setting, value = parse_setting(name, values.pop(name))
            settings.setdefault(strategy, {})[setting] = value
        elif name not in _READERS:
            near = get_close_matches(name, _READERS, cutoff=0.5) or list(_READERS)
            raise InputError(f"there is no field {name!r}; give one of: {', '.join(near)}, or strategy.field")
    request = GenerationRequest(settings=settings, **values)
    mask = str(folder / request.mask) if request.mask else None
    return replace(request, files=[str(folder / file) for file in request.files], mask=mask)


def _from_text(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, {"prompt": line.strip()}


def _from_jsonl(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not `splitlines`: U+2028 and the like may stand inside a JSON text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"line {number} is no JSON ({error})") from error
        if not isinstance(record, dict):
            raise ValueError(f'line {number} is no JSON object; write {{"prompt": …}}')
        yield number, record


def _from_csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for row in reader:
        number = reader.line_num
        if None in row:
            raise ValueError(f"line {number} has more cells than the first one has columns; quote texts with commas")
        record = {name.strip(): value for name, value in row.items() if value and value.strip()}
        if record:
            yield number, record


_RECORDS: dict[str, Callable[[str], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".txt": _from_text,
    ".csv": _from_csv,
    ".jsonl": _from_jsonl,
}


def _fits_a_file(name: str) -> bool:
    return bool(re.fullmatch(r"\w[\w .-]*", name)) and len(name) <= _MAX_NAME and not name.endswith((" ", "."))


def _refused(name: str, value: Any, allowed: str) -> InputError:
    shown = repr(value)
    return InputError(f"{name} is {shown if len(shown) <= 100 else shown[:99] + '…'}; give {allowed}")


def _text(name: str, value: Any) -> str:
    try:
        value.encode()
    except (AttributeError, UnicodeEncodeError) as error:  # no text, or half a character of JSON's \ud800
        raise _refused(name, value, "a text") from error
    return value.strip()


def _query(name: str, value: Any) -> WeightedText:
    if isinstance(value, (list, tuple)) and len(value) == 2:
        return _text(name, value[0]), _number(0, whole=False)(f"a weight of {name}", value[1])
    return _text(name, value)


def _maybe(read: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    return lambda name, value: None if value is None else read(name, value)


def _number(low: float = -math.inf, high: float = math.inf, *, whole: bool = False) -> Callable[[str, Any], Any]:
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


def _several(read: Callable[[str, Any], Any]) -> Callable[[str, Any], tuple[Any, ...]]:
    def read_all(name: str, value: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [part for part in value.split(_BETWEEN) if part.strip()]
        if isinstance(value, Mapping) or not hasattr(value, "__iter__"):
            value = [value]
        return tuple(read(name, part) for part in value)

    return read_all


def _settings(name: str, value: Any) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(value, Mapping) or not all(isinstance(given, Mapping) for given in value.values()):
        raise _refused(name, value, "{strategy: {field: value}}")
    try:
        return json.loads(json.dumps(value))  # as they come back from the files of a run: lists for tuples
    except (TypeError, ValueError) as error:
        raise _refused(name, value, "values that JSON has") from error


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "prompt": _text,
    "name": _text,
    "negative_prompt": _text,
    "num_pictures": _number(1, 10_000, whole=True),
    "seed": _maybe(_number(0, MAX_SEED, whole=True)),
    "headline": _text,
    "subline": _text,
    "settings": _settings,
    "queries": _several(_query),
    "k": _maybe(_number(1, 100, whole=True)),
    "where": _maybe(_text),
    "diversity": _number(0, 1),
    "min_zscore": _maybe(_number()),
    "min_score": _maybe(_number()),
    "rows": _several(_number(0, whole=True)),
    "files": _several(_text),
    "mask": _maybe(_text),
}
_DEFAULTS = {
    f.name: f.default if f.default is not MISSING else {} for f in fields(GenerationRequest)
}  # the one without a default is `settings`
