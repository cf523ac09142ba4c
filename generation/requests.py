"""Requests: a prompt, how its references are found, and what is made of them; from files or from Python."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ..datasets import InputError
from ..datasets.display import is_blank
from ..datasets.encodings import decode_text
from ..datasets.files import open_regular
from ..datasets.text import find_delimiter, json_objects, split_lines
from .fields import MAX_SEED, READERS, WeightedText, parse_setting, read_settings

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = [
    "MAX_SEED",
    "GenerationRequest",
    "RequestDefaults",
    "WeightedText",
    "named",
    "parse_setting",
    "read_requests",
]

_MAX_NAME = 100  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One prompt and all options that belong to it.

    The value of a field may also be the text that a CSV file has for it. For a field with several values, a single
    value is accepted.

    Attributes:
        prompt: what the picture shows; with a copywriter, the advertising copy.
        name: unique in a run and valid as a file name; by default the number of the request, for example `0007`.
        negative_prompt: what the model should avoid.
        num_pictures: the number of pictures to make.
        seed: of the first picture; each further picture has the next seed. By default, seeds follow from the seed of
            the run and the prompt.
        headline: copy that may be drawn on the picture.
        subline: copy that may be drawn below the headline.
        settings: changes of the settings of strategies for these pictures: strategy → field → value.
        queries: the texts to search references by, as one mixed query; each alone or as (text, weight). By default,
            the prompt.
        k: references per picture; by default the smallest number that the strategy allows, but 1 rather than 0.
        where: a SQL condition over the metadata of the gallery that references must meet.
        diversity: 0 to 1; a higher value prefers references that differ from each other.
        min_zscore: references with a lower zscore are not used.
        min_score: references with a lower score are not used.
        rows: the references, by their rows in the gallery; then nothing is searched.
        files: the references, by paths; they come after those of `rows`.
        mask: the path of an image of the size of the reference, white where the strategy must repaint.

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
        for name, read in READERS.items():
            object.__setattr__(self, name, read(name, getattr(self, name)))
        if self.name and not _is_file_name(self.name):
            raise InputError(
                f"the name {self.name!r} is not valid as a file name; give letters, digits, spaces and _ - . (not "
                f"first), {_MAX_NAME} characters at most"
            )
        if is_blank(self.prompt) and not (self.queries or self.rows or self.files):
            raise InputError("there is no prompt; give a prompt, or queries, rows or files of references")
        if self.mask and len(self.rows) + len(self.files) != 1:
            raise InputError("a mask needs exactly one reference; give it by rows or files")

    @property
    def lines(self) -> tuple[str, ...]:
        """The copy that may be drawn on the picture, headline first."""
        return tuple(line for line in (self.headline, self.subline) if line)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields that differ from their defaults, as JSON values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: value for name, value in values.items() if value != _DEFAULTS[name]}


class RequestDefaults(TypedDict, total=False):
    """Fields of the requests of a file that do not set them; see `GenerationRequest`."""

    prompt: str
    negative_prompt: str
    num_pictures: int
    seed: int | None
    headline: str
    subline: str
    settings: Mapping[str, Mapping[str, Any]]
    queries: Sequence[WeightedText]
    k: int | None
    where: str | None
    diversity: float
    min_zscore: float | None
    min_score: float | None
    rows: Sequence[int]
    files: Sequence[str]
    mask: str | None


def read_requests(path: str | Path, **defaults: Unpack[RequestDefaults]) -> list[GenerationRequest]:
    """Reads requests from a file: `.txt` (a prompt per line), `.jsonl` (an object per line), `.csv` or `.tsv`.

    A column or field `strategy.field` changes this setting of a strategy. In a CSV cell, several values are separated
    by `|`, and an empty cell means the default. Paths are relative to the folder of the file.

    Args:
        path: the file, in UTF-8, UTF-16 or UTF-32 with a byte order mark, or an older encoding; see `decode_text`.
        defaults: values for requests that do not have their own.

    Raises:
        InputError: if a request cannot be used; the message names the file and the line.
    """
    path = Path(path)
    found = []
    for line, record in _records(path):
        try:
            found.append(_request({**defaults, **record}, path.parent))
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
    if not found:
        raise InputError(f"the prompt file {path} is empty; give one prompt per line")
    return found


def named(requests: Sequence[GenerationRequest]) -> list[tuple[str, GenerationRequest]]:
    """Returns the requests with their names: their own, or their numbers from 0001 on.

    Raises:
        InputError: if two names are equal on a file system that ignores case.
    """
    width = max(4, len(str(len(requests))))
    found = [(request.name or f"{number:0{width}}", request) for number, request in enumerate(requests, start=1)]
    seen: dict[str, int] = {}
    for number, (name, _) in enumerate(found, start=1):
        if (other := seen.setdefault(name.casefold(), number)) != number:
            raise InputError(f"the requests {other} and {number} have the same name {name!r}; give each its own name")
    return found


def _records(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Returns the requests of a file as fields, with their line numbers."""
    read = _FORMATS.get(path.suffix.lower())
    if read is None:
        raise InputError(f"the name of the prompt file {path} ends in none of {', '.join(_FORMATS)}; rename it")
    try:
        with open_regular(path) as file:
            return list(read(decode_text(file.read())))
    except OSError as error:
        raise InputError(f"the prompt file {path} cannot be read ({error.strerror})") from error
    except (csv.Error, ValueError) as error:
        raise InputError(f"the prompt file {path} cannot be parsed: {error}") from error


def _request(record: Mapping[str, Any], folder: Path) -> GenerationRequest:
    """Returns the request of a record. Fields that are None keep their defaults."""
    values = {name: value for name, value in record.items() if value is not None}
    given = read_settings("settings", values.pop("settings", {}))
    settings = {strategy: {**changes} for strategy, changes in given.items()}
    for name in list(values):
        if "." in name:
            strategy, setting, value = parse_setting(name, values.pop(name))
            settings.setdefault(strategy, {})[setting] = value
        elif name not in READERS:
            near = get_close_matches(name, READERS, cutoff=0.5) or list(READERS)
            raise InputError(f"there is no field {name!r}; give one of: {', '.join(near)}, or strategy.field")
    request = GenerationRequest(settings=settings, **values)
    mask = str(folder / request.mask) if request.mask else None
    return replace(request, files=[str(folder / file) for file in request.files], mask=mask)


def _from_text(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(split_lines(text), start=1):
        if line.strip():
            yield number, {"prompt": line.strip()}


def _from_jsonl(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    return json_objects(text, shape='{"prompt": …}')


def _from_csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    delimiter = find_delimiter(text, lambda name: name in READERS or "." in name)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    if twice := next((name for name in names if name and names.count(name) > 1), None):
        raise ValueError(f"the column {twice!r} is given twice; rename or remove one")
    for row in reader:
        number = reader.line_num
        if None in row:
            raise ValueError(f"line {number} has more cells than the header has columns; quote texts with commas")
        record = {name.strip(): value for name, value in row.items() if value and value.strip()}
        if record:
            yield number, record


_FORMATS: dict[str, Callable[[str], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".txt": _from_text,
    ".csv": _from_csv,
    ".tsv": _from_csv,
    ".jsonl": _from_jsonl,
}


def _is_file_name(name: str) -> bool:
    return bool(re.fullmatch(r"\w[\w .-]*", name)) and len(name) <= _MAX_NAME and not name.endswith((" ", "."))


_DEFAULTS = {
    f.name: f.default if f.default is not MISSING else {} for f in fields(GenerationRequest)
}  # only `settings` has no default value
