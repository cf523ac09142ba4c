"""Bytes of text files → text, whatever their encoding; and the repair of text that is not valid Unicode.

The encoding of a file is decided once, for the whole file: by its byte order mark, else UTF-8 if it is that, else one
of the older encodings. Older encodings cannot be told apart with certainty. General detectors need long texts
(charset-normalizer took 130 of 184 short Chinese captions in GB 18030 for another language), so the choice is made here
by the share of characters that are common in the language of each encoding, and GB 18030 wins when in doubt.
"""

from __future__ import annotations

import codecs
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# UTF-32 before UTF-16, because the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
_REPLACEMENT = "\ufffd"
# The first character that UTF-8 writes with three bytes. Text of an older encoding is hardly ever valid UTF-8 with such
# characters by chance; with two bytes it is (一只猫 in GBK is valid UTF-8).
_THREE_BYTES = "\u0800"
_JUDGED = 4000  # characters of a text that its encoding is guessed by
_ESCAPED_TROUBLE = re.compile(r"\\u(?:[dD][89a-fA-F]|0000)")
_MOST_DIGITS = 4000  # Python refuses to convert longer integers


def decode_text(raw: bytes, legacy: str | None = None) -> str:
    """Decodes a whole text file. The result is always valid Unicode without NUL characters.

    Args:
        raw: the content of the file. With a byte order mark: UTF-8, UTF-16, UTF-32 or GB 18030. Without one: UTF-8,
            else GB 18030, Big5, Shift JIS, EUC-KR or Windows-1252. Bytes that fit no encoding become U+FFFD.
        legacy: what `common_encoding` found for the files around this one. It decides where the bytes could be either.
    """
    return _decoded(raw, legacy).replace("\0", _REPLACEMENT)


def decode_name(raw: bytes) -> str:
    """Decodes the name of a file in an archive: UTF-8, else GB 18030, else with U+FFFD.

    Names become the keys of rows, so this rule must not change: galleries are joined with their shards by key.
    """
    for encoding in ("utf-8-sig", "gb18030"):
        text = _strictly(raw, encoding)
        if text is not None:
            return text
    return raw.decode("utf-8", "replace")


def common_encoding(raws: Iterable[bytes]) -> str | None:
    """The older encoding that most of some text files are in; None if that is not certain, or they are UTF-8."""
    texts = [_Judged.of(raw) for raw in raws if not _mark(raw)]
    older = [text.raw for text in texts if text.is_older]
    newer = sum(text.is_surely_utf8 for text in texts)
    return _guess(b"\n".join(older)) if older and len(older) >= newer else None


def is_ambiguous(raw: bytes, legacy: str) -> bool:
    """Whether the bytes are valid UTF-8 as well as valid in an older encoding, with different characters."""
    text = _strictly(raw, "utf-8")
    two_bytes = text is not None and not _mark(raw) and not text.isascii() and max(text) < _THREE_BYTES
    return two_bytes and legacy in _DOUBLE_BYTE and _strictly(raw, legacy) is not None


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
    return text.replace("\0", _REPLACEMENT)


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


def _decoded(raw: bytes, legacy: str | None) -> str:
    if mark := _mark(raw):
        return raw[len(mark[0]) :].decode(mark[1], "replace")
    if legacy and is_ambiguous(raw, legacy):
        return raw.decode(legacy)
    judged = _Judged.of(raw)
    if not judged.is_older:
        return judged.text
    text = _strictly(raw, legacy) if legacy else None
    return text if text is not None else raw.decode(_guess(raw) or "utf-8", "replace")


def _mark(raw: bytes) -> tuple[bytes, str] | None:
    return next((mark for mark in _MARKS if raw.startswith(mark[0])), None)


def _strictly(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return None


@dataclass(frozen=True, slots=True)
class _Judged:
    """Bytes without a mark as UTF-8 (or UTF-16), and whether they are rather in an older encoding."""

    raw: bytes
    text: str
    is_older: bool

    @classmethod
    def of(cls, raw: bytes) -> _Judged:
        if wide := _utf16_without_mark(raw):
            return cls(raw, wide, is_older=False)
        text = _strictly(raw, "utf-8")
        if text is not None:
            return cls(raw, text, is_older=_mixes_scripts(text) and _share(raw, "gb18030") >= 0.9)
        damaged = raw.decode("utf-8", "replace")
        # One bad byte, or a text that was cut in the middle of a character, does not change the encoding of a file.
        good, bad = sum(c >= _THREE_BYTES for c in damaged), damaged.count(_REPLACEMENT)
        return cls(raw, damaged, is_older=good - bad < 2 * bad)

    @property
    def is_surely_utf8(self) -> bool:
        return not self.is_older and (max(self.text, default="") >= _THREE_BYTES or _is_latin(self.text))


def _utf16_without_mark(raw: bytes) -> str | None:
    """The text, if half of the bytes are NUL, as in UTF-16 without a mark and with Latin letters."""
    if b"\0" not in raw or len(raw) % 2:
        return None
    head = raw[:_JUDGED]
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if head[start::2].count(0) >= 0.4 * len(head) > 0 and not head[1 - start :: 2].count(0):
            return _strictly(raw, encoding)
    return None


def _is_latin(text: str) -> bool:
    others = [c for c in text[:_JUDGED] if not c.isascii()]
    return bool(others) and all(_script(c) == "LATIN" for c in others if c.isalpha())


def _mixes_scripts(text: str) -> bool:
    """Whether most words beyond ASCII mix scripts, say Latin, Cyrillic and Hebrew: no language does that."""
    if text.isascii() or max(text) >= _THREE_BYTES:
        return False
    words = re.findall("[^\x00-\x7f]+", text[:_JUDGED])
    mixed = sum(len({_script(c) for c in word} - {""}) > 1 for word in words)
    return 2 * mixed > len(words)


def _script(char: str) -> str:
    """The first word of a character's name, for letters; "" for marks and signs; "?" for what Unicode does not have."""
    name = unicodedata.name(char, "?")
    return name.partition(" ")[0] if char.isalpha() or name == "?" else ""


def _guess(raw: bytes) -> str | None:
    """The older encoding that bytes are most likely in; GB 18030 in doubt, None if they are not valid in any."""
    shares = {name: _share(raw, name) for name in _COMMON}
    best = max(shares, key=lambda name: shares[name])
    if shares[best] >= 0.6:
        return best
    return "gb18030" if _strictly(raw, "gb18030") is not None else None


def _share(raw: bytes, encoding: str) -> float:
    """The share of characters beyond ASCII that are common in an encoding's language; −1 for invalid bytes."""
    text = _strictly(raw, encoding)
    if text is None:
        return -1.0
    positions = [i for i, c in enumerate(text[:_JUDGED]) if not c.isascii()]
    return _COMMON[encoding](text, positions) if positions else 0.0


def _lead(char: str, encoding: str) -> int:
    """The first of the two bytes of a character; 0 if it has not two."""
    encoded = char.encode(encoding, "ignore")
    return encoded[0] if len(encoded) == 2 else 0


def _simplified(text: str, positions: Sequence[int]) -> float:
    """GB 2312 has its 3755 common characters in rows B0 to D7, and punctuation in A1 to A3."""
    leads = [_lead(text[i], "gb2312") for i in positions]
    # When in doubt it is Chinese, so its share counts a little more.
    return 1.15 * sum(0xB0 <= lead <= 0xD7 or 0xA1 <= lead <= 0xA3 for lead in leads) / len(leads)


def _traditional(text: str, positions: Sequence[int]) -> float:
    """Big5 has its 5401 common characters in rows A4 to C6, and punctuation before them."""
    return sum(0xA1 <= _lead(text[i], "big5") <= 0xC6 for i in positions) / len(positions)


def _japanese(text: str, positions: Sequence[int]) -> float:
    kana = sum("\u3040" <= text[i] <= "\u30ff" for i in positions)
    others = sum("\u3000" <= text[i] <= "\u303f" or "\u4e00" <= text[i] <= "\u9fff" for i in positions)
    return (kana + others) / len(positions) if 5 * kana >= len(positions) else 0.0


def _korean(text: str, positions: Sequence[int]) -> float:
    """Hangul has rows that GB 2312 uses for common characters: only a longer text of nothing else is Korean."""
    hangul = sum("\uac00" <= text[i] <= "\ud7a3" for i in positions) / len(positions)
    return (1.2 if len(positions) >= 12 else 1.0) * hangul if hangul > 0.95 else 0.0


def _western(text: str, positions: Sequence[int]) -> float:
    """A letter with an accent has a plain letter beside it; the other signs are quotation marks and dashes."""
    plain = re.compile("[A-Za-z]")
    letters = sum(text[i].isalpha() and bool(plain.search(text[max(0, i - 1) : i + 2])) for i in positions)
    return (letters + sum(text[i] in "‘’“”–—…€°" for i in positions)) / len(positions)


_COMMON: Mapping[str, Callable[[str, Sequence[int]], float]] = {
    "gb18030": _simplified,
    "big5": _traditional,
    "cp932": _japanese,
    "cp949": _korean,
    "cp1252": _western,
}
_DOUBLE_BYTE = frozenset(_COMMON) - {"cp1252"}
