"""Bytes of text files → text, whatever their encoding.

The encoding of a file is decided once, for the whole file: by its byte order mark, else UTF-8 if it is that, else one
of the older encodings. Older encodings cannot be told apart with certainty. General detectors need long texts
(charset-normalizer took 130 of 184 short Chinese captions in GB 18030 for another language), so the choice is made here
by the share of characters that are common in the language of each encoding, and GB 18030 wins when in doubt.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .text import REPLACEMENT, valid_text

# UTF-32 before UTF-16, because the mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
    (b"\x84\x31\x95\x33", "gb18030"),
)
# The first character that UTF-8 writes with three bytes. Text of an older encoding is hardly ever valid UTF-8 with such
# characters by chance; with two bytes it is (一只猫 in GBK is valid UTF-8).
_THREE_BYTES = "\u0800"
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
# Latin, Greek, Cyrillic, punctuation, kana, CJK, full width, emoji.
_WIDELY_USED = re.compile(
    "[\t\n\r -~\u00a0-\u024f\u0370-\u04ff\u200b-\u203a\u3000-\u30ff\u4e00-\u9fff"
    "\ufe0f\uff00-\uffef\U0001f000-\U0001faff]"
)
_JUDGED = 4000  # characters of a text that its encoding is guessed by


def decode_text(raw: bytes, legacy: str | None = None) -> str:
    """Decodes a whole text file. The result is always valid Unicode without NUL characters.

    Args:
        raw: the content of the file. With a byte order mark: UTF-8, UTF-16, UTF-32 or GB 18030. Without one: UTF-8,
            UTF-16 and UTF-32 where they show, else GB 18030, Big5, Shift JIS, EUC-JP, EUC-KR or Windows-1252. Bytes
            that fit no encoding become U+FFFD.
        legacy: what `common_encoding` found for the files around this one. It decides where the bytes could be either.
    """
    return _decoded(raw, legacy).replace("\0", REPLACEMENT)


def decode_name(raw: bytes) -> str:
    """Decodes the name of a file in an archive: UTF-8, else GB 18030, else with U+FFFD.

    Names become the keys of rows, so this rule must not change: galleries are joined with their shards by key.
    """
    if raw.isascii():
        return raw.decode("ascii")
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
        if wide := _wide_without_mark(raw):
            return cls(raw, wide, is_older=False)
        text = _utf8(raw)
        if text is not None:
            return cls(raw, text, is_older=_mixes_scripts(text) and _share(raw, "gb18030") >= 0.9)
        damaged = raw.decode("utf-8", "replace")
        # One bad byte, or a text that was cut in the middle of a character, does not change the encoding of a file.
        good, bad = sum(c >= _THREE_BYTES for c in damaged), damaged.count(REPLACEMENT)
        return cls(raw, damaged, is_older=good - bad < 2 * bad)

    @property
    def is_surely_utf8(self) -> bool:
        return not self.is_older and (max(self.text, default="") >= _THREE_BYTES or _is_latin(self.text))


def _utf8(raw: bytes) -> str | None:
    """UTF-8 as text; halves of characters, which some programs write (CESU-8), are joined or become U+FFFD."""
    try:
        return valid_text(raw.decode("utf-8", "surrogatepass"))
    except UnicodeDecodeError:
        return None


def _wide_without_mark(raw: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: bytes with NUL that are many, or no UTF-8, and make common characters."""
    num_nul = raw.count(0)
    if not num_nul or (num_nul < 0.4 * len(raw) and _strictly(raw, "utf-8") is not None):
        return None
    texts = [text for encoding in _WIDE if (text := _strictly(raw, encoding)) and "\0" not in text]
    # The other order of bytes makes rare characters of common ones, or CJK characters of Latin letters.
    best = max(texts, key=lambda text: (_num_common(text), sum(map(str.isascii, text[:_JUDGED]))), default="")
    return best if _num_common(best) >= 0.8 * len(best[:_JUDGED]) > 0 else None


def _num_common(text: str) -> int:
    """How many characters belong to scripts that are written much; Hangul does not: pairs of bytes of GBK look so."""
    return sum(bool(_WIDELY_USED.match(char)) for char in text[:_JUDGED])


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
    hangul = sum("\uac00" <= text[i] <= "\ud7a3" and _lead(text[i], "euc_kr") > 0 for i in positions) / len(positions)
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
    "euc_jp": _japanese,
    "cp949": _korean,
    "cp1252": _western,
}
_DOUBLE_BYTE = frozenset(_COMMON) - {"cp1252"}
