"""Finds fonts of this machine and of installed packages: by file, by family, or by the glyphs that a text needs."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ...datasets import InputError, display

# Preferred families, best first: those with Chinese and Latin glyphs, then those with Latin only. Each collection is
# named by its face for simplified Chinese, because the default is the Japanese one, which draws 直 and 骨 differently.
FAMILIES = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "PingFang SC", "Microsoft YaHei",
    "Hiragino Sans GB", "Heiti SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Droid Sans Fallback",
    "Noto Sans", "Helvetica Neue", "Segoe UI", "Liberation Sans", "DejaVu Sans",
)  # fmt: skip
ADVICE = 'install one, for Chinese for example Debian\'s fonts-noto-cjk, or run: pip install "diantu[demo]"'

# Packages that contain fonts, and the folder within: Noto Sans CJK in all weights; DejaVu.
_PACKAGES = (("manimgx_fonts_cjk", "."), ("matplotlib", "mpl-data/fonts/ttf"))
_ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
# Words in the names of styles → weights on the scale of CSS.
_WEIGHTS = {
    "thin": 100, "ultralight": 200, "extralight": 200, "demilight": 350, "light": 300, "w3": 300, "medium": 500,
    "semibold": 600, "demibold": 600, "w6": 600, "extrabold": 800, "ultrabold": 800, "bold": 700, "heavy": 800,
    "black": 900,
}  # fmt: skip
# Families to ignore: fonts with the same meaningless glyph for every character, and hidden fonts of a system.
_PLACEHOLDERS = ("Last Resort", "LastResort", ".")
_SIZE_OF_CHECK = 24  # pixels; a glyph is compared at this size with that of a code point that no font has
_NO_CHARACTER = "\uffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """One face of a font file, or the Latin font inside Pillow.

    Attributes:
        path: of the file; None for the font inside Pillow.
        index: position of the face in a collection.
        family: as the file names it.
        style: as the file names it, for example `Bold`.
        has_weights: whether the font is variable and the weight is chosen when it is used.
    """

    path: str | None
    index: int = 0
    family: str
    style: str
    has_weights: bool = False

    def at(self, size: int, weight: int = 400) -> ImageFont.FreeTypeFont:
        """Opens the face at a size in pixels; the weight is used only if the font is variable."""
        return _opened(self, size, weight)

    def missing(self, text: str) -> str:
        """The characters of a text that the face cannot draw, each once, in the order of the text."""
        font = self.at(_SIZE_OF_CHECK)
        # For every character without a glyph, a font draws the same: usually a box, or nothing.
        nothing = {_drawn(font, _NO_CHARACTER), _drawn(font, " ")}
        return "".join(char for char in dict.fromkeys(text) if not _is_blank(char) and _drawn(font, char) in nothing)


@lru_cache(maxsize=64)
def _opened(face: Face, size: int, weight: int) -> ImageFont.FreeTypeFont:
    if face.path is None:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
        return font
    font = ImageFont.truetype(face.path, size, index=face.index)
    if face.has_weights:
        font.set_variation_by_axes([weight])
    return font


def find(text: str, *, name: str = "", weight: int = 400, among: Sequence[Face] | None = None) -> Face:
    """Finds the face to draw a text with.

    Args:
        text: the text to draw.
        name: a font file, the file name of an installed font, or a family; empty for the best one with all glyphs.
        weight: 400 is regular, 700 is bold; the nearest available weight is used.
        among: the faces to choose from, unless `name` is a file; None for the installed ones.

    Raises:
        InputError: if no face has all glyphs, or there is no font of this name.
    """
    face, missing = choose(text, name=name, weight=weight, among=among)
    if missing:
        shown = missing if len(missing) <= 20 else f"{missing[:20]}…"
        if name:
            raise InputError(
                f"the font {name!r} has no glyph for {shown!r}; name another font, or none to let diantu choose"
            )
        raise InputError(f"no font has a glyph for {shown!r}; {ADVICE}, or name a font file")
    return face


def choose(text: str, *, name: str = "", weight: int = 400, among: Sequence[Face] | None = None) -> tuple[Face, str]:
    """Finds a face as `find` does, but raises no error for missing glyphs.

    Returns:
        The face and the characters that it cannot draw. If no face has all glyphs, it is the preferred one that lacks
        the fewest.
    """
    if name:
        face = _of_weight(_named(name, installed() if among is None else among), weight)
        return face, face.missing(text)
    by_family = _by_family(installed() if among is None else among)
    preferred = [_of_weight(by_family[family], weight) for family in FAMILIES if family in by_family]
    lacking: list[tuple[Face, str]] = []
    for face in (*preferred, _INSIDE_PILLOW):
        lacking.append((face, face.missing(text)))
        if not lacking[-1][1]:
            return lacking[-1]
    best, missing = min(lacking, key=lambda pair: len(pair[1]))
    for family in sorted(by_family.keys() - FAMILIES):
        face = _of_weight(by_family[family], weight)
        if not face.missing(missing) and not face.missing(text):  # the first test is quick, and most faces fail it
            return face, ""
    return best, missing


@lru_cache(maxsize=1)
def installed() -> tuple[Face, ...]:
    """All faces in the font folders of this system and in packages that contain fonts."""
    return tuple(face for folder in _folders() for face in faces_in(folder))


def faces_in(folder: Path) -> Iterator[Face]:
    """Yields the faces of all font files below a folder, in the order of file names; broken files are skipped."""
    for root, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if file.lower().endswith(_ENDINGS):
                yield from faces_of(Path(root) / file)


def faces_of(path: Path) -> Iterator[Face]:
    """Yields the faces of one file; none, if it is not a font."""
    index = 0
    while True:
        try:
            font = ImageFont.truetype(str(path), _SIZE_OF_CHECK, index=index)
            family, style = font.getname()
        except OSError:
            return  # not a font, or no more faces
        if family and not family.startswith(_PLACEHOLDERS):
            yield Face(path=str(path), index=index, family=family, style=style or "", has_weights=_has_weights(font))
        index += 1


_INSIDE_PILLOW = Face(path=None, family="Aileron", style="Regular")


def _folders() -> Iterator[Path]:
    for package, place in _PACKAGES:
        if spec := importlib.util.find_spec(package):
            yield from (Path(root) / place for root in spec.submodule_search_locations or ())
    home = Path.home()
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows")) / "Fonts"
        yield Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")) / "Microsoft/Windows/Fonts"
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
        yield from sorted(
            Path("/System/Library/AssetsV2").glob("com_apple_MobileAsset_Font*")
        )  # PingFang, from macOS 14
    else:  # https://specifications.freedesktop.org/basedir-spec
        data = os.environ.get("XDG_DATA_HOME") or home / ".local/share"
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        yield from (Path(data) / "fonts", home / ".fonts", *(Path(root) / "fonts" for root in shared.split(":")))


def _has_weights(font: ImageFont.FreeTypeFont) -> bool:
    """Whether the weight is the only axis of a variable font."""
    try:
        axes = font.get_variation_axes()
    except (OSError, NotImplementedError):
        return False  # not a variable font
    return [axis["name"] for axis in axes] == [b"Weight"]


def _named(name: str, faces: Iterable[Face]) -> list[Face]:
    """The faces that a user may mean by a name.

    Raises:
        InputError: if there are none.
    """
    if Path(name).is_file():
        found = list(faces_of(Path(name)))
        if not found:
            raise InputError(f"the file {name} cannot be read as a font; give a .ttf, .otf or .ttc file")
        best = min(found, key=lambda face: _rank(face.family)).family
        return [face for face in found if face.family == best]
    faces = list(faces)
    files = [face for face in faces if face.path and Path(face.path).name.lower() == name.lower()]
    found = files or [face for face in faces if face.family.lower() == name.lower()]
    if not found:
        families = sorted({face.family for face in faces})
        near = get_close_matches(name, families, n=3, cutoff=0.4)
        hint = f"the nearest families: {', '.join(near)}" if near else "no family has a similar name"
        raise InputError(f"the font {name!r} is neither a file nor installed; {hint}; or give a font file")
    best = min(found, key=lambda face: _rank(face.family)).family
    return [face for face in found if face.family == best]


def _rank(family: str) -> int:
    return FAMILIES.index(family) if family in FAMILIES else len(FAMILIES)


def _by_family(faces: Iterable[Face]) -> dict[str, list[Face]]:
    found: dict[str, list[Face]] = {}
    for face in faces:
        found.setdefault(face.family, []).append(face)
    return found


def _of_weight(family: Sequence[Face], weight: int) -> Face:
    """The face of a family with the nearest weight; upright and of normal width, if there is one."""

    def distance(face: Face) -> tuple[bool, bool, int]:
        style = face.style.lower()
        slanted = "italic" in style or "oblique" in style
        narrow = "condensed" in style or "narrow" in style
        return slanted, narrow, 0 if face.has_weights else abs(weight_of(face.style) - weight)

    return min(family, key=distance)


def weight_of(style: str) -> int:
    """The weight of a style by its name: 400, unless a word in it names another weight."""
    words = re.sub(r"[^a-z0-9]", "", style.lower())
    return next((weight for word, weight in _WEIGHTS.items() if word in words), 400)


def _is_blank(char: str) -> bool:
    """Whether a character is invisible in every font: spaces, joiners, variation selectors."""
    return unicodedata.category(char) in ("Zs", "Zl", "Zp", "Cc", "Cf") or "\ufe00" <= char <= "\ufe0f"


def _drawn(font: ImageFont.FreeTypeFont, char: str) -> bytes:
    image = Image.new("L", (3 * _SIZE_OF_CHECK, 3 * _SIZE_OF_CHECK))
    ImageDraw.Draw(image).text((_SIZE_OF_CHECK, _SIZE_OF_CHECK), char, fill=255, font=font)
    return image.tobytes()


def fitted(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text on one line, cut with an ellipsis if it is wider than `width` pixels."""
    text = " ".join(display.one_line(text).split())[: 2 * width]  # no face has letters of less than half a pixel
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
