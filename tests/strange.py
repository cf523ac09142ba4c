"""Text as strangers write it: escape codes, bidirectional controls, markup, formulas, halves of surrogate pairs."""

from __future__ import annotations

import random
import re

# Written without the product's own table: C0, DEL, C1, bidirectional controls, separators, halves of pairs.
CONTROLS = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_PIECES = (
    "\x1b[2J", "\x1b]0;title\x07", "\x1b]8;;javascript:alert(1)\x1b\\", "\x9b31m", "\x90q", "\u202egpj",
    "\u2066", "\u200f",
    "\n", "\r", "\r\n", "\t", "\0", "\x7f", "\x85", "\u2028", "\ud83d", "\udc00",
    "<script>alert(1)</script>", "</title>",
    "' onerror='x", '" onload="x', "<img src=x onerror=y>", "&lt;", "&#0;", "]]>", "--><svg/onload=x>", "javascript:x",
    "{0}", "{name}", "$title", "%s", "=1+1", "@SUM(A1)", "-2+3", "大熊猫", "🐼", "👩\u200d🚀", "café", " ",
    "a", "7", "\\x1b",
)  # fmt: skip


def text(seeded: random.Random) -> str:
    """Returns up to eight pieces, now and then with characters from all of Unicode between them."""
    pieces = [
        chr(seeded.choice((seeded.randrange(0x300), seeded.randrange(0x110000))))
        if seeded.random() < 0.2
        else seeded.choice(_PIECES)
        for _ in range(seeded.randrange(1, 9))
    ]
    return "".join(pieces)
