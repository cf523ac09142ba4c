"""Small fonts whose glyphs are filled boxes of different heights, so that the position of the ink is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fontTools.ttLib.tables.TupleVariation import TupleVariation
from fontTools.ttLib.ttCollection import TTCollection

EM = 1000
BEARING = 180  # the empty space left of each box, as in 《


def save_font(
    path: Path, chars: str, *, family: str, style: str = "Regular", blanks: str = "", is_variable: bool = False
) -> Path:
    """Saves a font with these characters; ideographs and their punctuation are one em wide, others half an em."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _font(chars, family, style, blanks, is_variable).save(path)
    return path


def save_collection(path: Path, chars: str, families: Sequence[str]) -> Path:
    """Saves a collection of such fonts."""
    collection = TTCollection()
    collection.fonts = [_font(chars, family, "Regular", "", False) for family in families]
    collection.save(path)
    return path


def _font(chars: str, family: str, style: str, blanks: str, is_variable: bool) -> TTFont:
    codes = sorted({ord(char) for char in chars + blanks if not char.isspace()})
    names = [".notdef", "space", *(f"u{code:05X}" for code in codes)]
    width = {".notdef": 500, "space": 300} | {f"u{code:05X}": EM if code > 0x2E7F else 500 for code in codes}
    glyphs = {".notdef": _box(300, 111), "space": TTGlyphPen(None).glyph()}
    for code in codes:
        name = f"u{code:05X}"
        is_blank = chr(code) in blanks
        glyphs[name] = TTGlyphPen(None).glyph() if is_blank else _box(width[name] - BEARING - 20, 600 + code % 97)
    builder = FontBuilder(EM, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({0x20: "space", **{code: f"u{code:05X}" for code in codes}})
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (width[name], BEARING) for name in names})
    builder.setupHorizontalHeader(ascent=880, descent=-120)
    builder.setupNameTable({"familyName": family, "styleName": style})
    builder.setupOS2(sTypoAscender=880, sTypoDescender=-120)
    builder.setupPost()
    if is_variable:
        builder.setupFvar([("wght", 100, 100, 900, "Weight")], [])
        wider = {
            name: [TupleVariation({"wght": (0, 1, 1)}, [*[(0, 0)] * 5, (200, 0), (0, 0), (0, 0)])] for name in names
        }
        builder.setupGvar({name: [] if name == "space" or name == ".notdef" else wider[name] for name in names})
    return builder.font


def _box(width: int, height: int) -> object:
    pen = TTGlyphPen(None)
    pen.moveTo((BEARING, 0))
    pen.lineTo((BEARING, height))
    pen.lineTo((BEARING + width, height))
    pen.lineTo((BEARING + width, 0))
    pen.closePath()
    return pen.glyph()
