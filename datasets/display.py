"""How text of strangers reaches a terminal, a page, a table or JSON: keys, captions, names of files, URLs, errors.

Such text may hold escape codes that move the cursor, change the title of a window or make links, bidirectional controls
that show characters in another order, and line breaks that imitate further messages. Everything that diantu prints,
logs or writes into a page passes through this module.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from typing import Any

# C0 controls, DEL and C1 controls (among them ESC and CSI); the bidirectional controls of Unicode's annex 9 (Trojan
# Source, CVE-2021-42574); separators of lines; annotations; the byte order mark; halves of surrogate pairs, which UTF-8
# cannot encode. Joiners stay, because emoji and Persian need them.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_BREAK = "[\n\v\f\r\x85\u2028\u2029]"
_BREAKS = re.compile(f"[ ]*(?:\t|{_BREAK})+[ ]*")
_LINE = re.compile(f"\r\n|{_BREAK}")
_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn", "Mn", "Me")
# A spreadsheet takes a cell that begins so as a formula: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def one_line(text: object) -> str:
    r"""Returns a text for one line of a terminal.

    Line breaks and tabs become a space; other controls become visible: ESC becomes the four characters `\x1b`.
    """
    return _UNSAFE.sub(_visible, _BREAKS.sub(" ", str(text)))


def lines(text: object) -> str:
    """Returns a text of several lines for a terminal or a page; see `one_line`."""
    return "\n".join(map(one_line, _LINE.split(str(text))))


def is_blank(text: str) -> bool:
    """Whether a text has nothing to see: only spaces, controls, characters without width, marks without a letter."""
    return all(unicodedata.category(each) in _UNSEEN for each in text)


def cell(value: object) -> object:
    """Returns a value for a cell of a table that a spreadsheet may open, such as CSV.

    A text that the spreadsheet would take for a formula gets an apostrophe in front, which spreadsheets do not show.
    Numbers and texts that are numbers stay as they are.
    """
    if not isinstance(value, str):
        return value
    text = lines(value)
    return f"'{text}" if value.startswith(_FORMULA) and not _is_number(text) else text


def to_json(value: Any) -> str:
    r"""Returns a value as one line of JSON. Controls are written as `\u001b`, so that a parser returns them exactly."""
    # Only strings can hold characters of the pattern, and none of them lies outside the basic plane.
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


class TerminalFormatter(logging.Formatter):
    """Formats messages for a terminal: each in one line, whatever it quotes. A traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name in `logging`
        """Returns the message in one line."""
        record.message = one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Returns a traceback."""
        return lines(super().formatException(ei))


def _visible(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
