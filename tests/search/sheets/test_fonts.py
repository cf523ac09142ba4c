"""Finding fonts, with fonts that the tests make themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
from boxes import save_collection, save_font

from diantu.datasets import InputError
from diantu.search.sheets.fonts import Face, choose, faces_in, faces_of, find, weight_of

LATIN = "The quick brown fox, 0123456789."
HAN = "周末去看大熊猫，"


def test_the_first_preferred_family_that_has_the_glyphs(tmp_path: Path) -> None:
    save_font(tmp_path / "a.ttf", LATIN, family="Another")
    save_font(tmp_path / "b.ttf", LATIN, family="Noto Sans CJK SC")
    save_font(tmp_path / "c.ttf", LATIN + HAN, family="WenQuanYi Zen Hei")
    save_font(tmp_path / "d.ttf", LATIN + HAN, family="A Further One")
    faces = list(faces_in(tmp_path))
    assert find("The fox", among=faces).family == "Noto Sans CJK SC"
    assert find("大熊猫 fox", among=faces).family == "WenQuanYi Zen Hei"
    assert (
        find("大熊猫", among=[face for face in faces if face.family != "WenQuanYi Zen Hei"]).family == "A Further One"
    )


def test_a_collection_gives_its_simplified_chinese_face(tmp_path: Path) -> None:
    """The first face of a collection is the Japanese one, which draws 直 differently."""
    path = save_collection(
        tmp_path / "cjk.ttc", LATIN + HAN, ["Noto Sans CJK JP", "Noto Sans CJK KR", "Noto Sans CJK SC"]
    )
    assert find("大熊猫", among=list(faces_of(path))).index == 2
    assert find("大熊猫", name=str(path)).index == 2


def test_the_nearest_weight_and_never_a_slanted_or_narrow_face(tmp_path: Path) -> None:
    for style in ("Light", "Regular", "Bold", "Bold Italic", "Condensed Bold"):
        save_font(tmp_path / f"{style}.ttf", LATIN, family="DejaVu Sans", style=style)
    faces = list(faces_in(tmp_path))
    assert find("fox", weight=700, among=faces).style == "Bold"
    assert find("fox", weight=400, among=faces).style == "Regular"
    assert find("fox", weight=800, among=[face for face in faces if face.style != "Bold"]).style == "Regular"


@pytest.mark.parametrize(
    ("style", "weight"), [("Regular", 400), ("Book", 400), ("ExtraBold", 800), ("Semi Bold", 600), ("DemiLight", 350)]
)
def test_weights_by_the_names_of_styles(style: str, weight: int) -> None:
    assert weight_of(style) == weight


def test_a_variable_font_uses_the_given_weight(tmp_path: Path) -> None:
    """The default weight of the variable collection of Noto is thin."""
    save_font(tmp_path / "v.ttf", LATIN, family="Noto Sans", style="Thin", is_variable=True)
    (face,) = faces_in(tmp_path)
    assert face.has_weights
    assert face.at(40, 900).getlength("fox") > 1.2 * face.at(40, 100).getlength("fox")


def test_characters_without_a_glyph_are_named(tmp_path: Path) -> None:
    save_font(tmp_path / "a.ttf", LATIN + "大猫", family="Noto Sans SC")
    faces = list(faces_in(tmp_path))
    with pytest.raises(InputError, match=r"no font has a glyph for '熊龘'; install one.*diantu\[demo\]"):
        find("大熊猫龘熊", among=faces)
    face, missing = choose("大熊猫", among=faces)
    assert (face.family, missing) == ("Noto Sans SC", "熊")
    with pytest.raises(InputError, match=r"the font .*a.ttf' has no glyph for '熊'"):
        find("大熊猫", name=str(tmp_path / "a.ttf"))


def test_characters_without_ink_need_no_glyph(tmp_path: Path) -> None:
    save_font(tmp_path / "a.ttf", LATIN, family="Noto Sans SC")
    assert find("fox\u3000fox\n\u200d\ufe0f", among=list(faces_in(tmp_path))).family == "Noto Sans SC"


def test_placeholder_fonts_and_blank_glyphs_are_not_used(tmp_path: Path) -> None:
    """Last Resort of matplotlib has a meaningless glyph for every character; other fonts have blank glyphs."""
    save_font(tmp_path / "a.ttf", LATIN + HAN, family="Last Resort High-Efficiency")
    save_font(tmp_path / "b.ttf", LATIN, blanks=HAN, family="Adobe Blank")
    with pytest.raises(InputError, match="no font has a glyph"):
        find("大熊猫", among=list(faces_in(tmp_path)))


def test_latin_can_be_drawn_without_any_font_installed() -> None:
    face = find("A hammer that lasts", among=[])
    assert face.path is None
    assert face.at(20).getlength("hammer") > face.at(10).getlength("hammer") > 0


def test_a_font_by_name(tmp_path: Path) -> None:
    path = save_font(tmp_path / "Some-File.ttf", LATIN, family="My Own Sans")
    faces = list(faces_in(tmp_path))
    for name in (str(path), "some-file.ttf", "my own sans"):
        assert find("fox", name=name, among=faces).family == "My Own Sans"
    with pytest.raises(InputError, match=r"'My Own Sants' is neither a file nor installed; the nearest.* My Own Sans"):
        find("fox", name="My Own Sants", among=faces)
    (tmp_path / "notes.txt").write_text("no font")
    with pytest.raises(InputError, match=r"notes.txt cannot be read as a font"):
        find("fox", name=str(tmp_path / "notes.txt"), among=faces)


def test_broken_files_are_skipped(tmp_path: Path) -> None:
    save_font(tmp_path / "deeper" / "a.ttf", LATIN, family="Noto Sans")
    (tmp_path / "broken.ttf").write_bytes(b"\0\1\0\0 no font")
    (tmp_path / "empty.otf").write_bytes(b"")
    assert [face.family for face in faces_in(tmp_path)] == ["Noto Sans"]
    assert list(faces_in(tmp_path / "none")) == []


def test_fonts_of_installed_packages_are_found() -> None:
    pytest.importorskip("matplotlib")
    face = find("fox", name="DejaVu Sans")
    assert isinstance(face, Face)
    assert face.missing("fox") == ""
