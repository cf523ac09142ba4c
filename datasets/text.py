"""Lines, cells and JSON of text files, and the repair of text that is not valid Unicode."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

REPLACEMENT = "\ufffd"  # in place of what is no character
_ESCAPED_TROUBLE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_MOST_DIGITS = 4000  # Python refuses to convert longer integers


def split_lines(text: str) -> list[str]:
    r"""The lines of a file. Only `\n` and `\r\n` end a line; `\r` alone does if there is no `\n` (old Mac files).

    `str.splitlines` also splits at U+2028, U+0085 and others, which JSON and captions may contain.
    """
    return text.replace("\r\n", "\n").split("\n") if "\n" in text else text.split("\r")


def find_delimiter(text: str, is_known: Callable[[str], bool]) -> str:
    """The delimiter of a CSV: comma, tab or semicolon, whichever gives its header the most known names of columns."""
    ends = (text.find("\n"), text.find("\r"))
    header = text[: min((end for end in ends if end >= 0), default=len(text))]

    def num_known(delimiter: str) -> int:
        return sum(is_known(name.strip().strip('"')) for name in header.split(delimiter))

    return max((",", "\t", ";"), key=num_known)


def json_objects(text: str, *, shape: str = "") -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with the numbers of their lines, from 1; empty lines do not count.

    Args:
        text: the content of the file.
        shape: what a line should be, for the message about one that is another value.

    Raises:
        ValueError: if a line is not a JSON object; the message begins with the line's number.
    """
    for number, line in enumerate(split_lines(text), start=1):
        if not line.strip():
            continue
        try:
            value = parse_json(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON ({error})") from error
        if not isinstance(value, dict):
            raise ValueError(f"line {number} is not a JSON object" + (f"; write {shape}" if shape else ""))
        yield number, value


def is_unicode(text: str) -> bool:
    """Whether a text can be encoded as UTF-8; the name of a file may be bytes that are not (surrogates in Python)."""
    return text == text.encode("utf-8", "ignore").decode("utf-8")


def valid_text(text: str) -> str:
    """A text that can be encoded as UTF-8: half surrogate pairs and NUL characters become U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", REPLACEMENT)


def parse_json(text: str) -> Any:
    """Parses JSON of unknown origin. All its texts and names are valid Unicode.

    Raises:
        ValueError: if it is not valid JSON, or is nested too deeply.
    """
    try:
        value = json.loads(text, parse_int=_integer)
        return _repaired(value) if _ESCAPED_TROUBLE.search(text) else value
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _MOST_DIGITS else digits


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, list):
        return [_repaired(each) for each in value]
    if isinstance(value, dict):
        return {valid_text(name): _repaired(each) for name, each in value.items()}
    return value
