"""The page: a text, an uploaded image or the path of one, and the hits below.

Captions, keys and messages may hold anything, so they are shown by `st.text`: most other elements read Markdown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from ...datasets import display
from ...datasets.errors import DiantuError, PixelsError
from .. import Gallery, Hit, Hits, Query
from .words import LANGUAGES, WORDS, Words

_IN_A_ROW = 4
_THUMBNAIL = 512  # pixels: sharp where four stand side by side
_MAX_HITS, _MAX_ZSCORE = 60, 10.0


def show(path: str, encoder: str = "", device: str = "auto") -> None:
    """Shows the page of a gallery. Streamlit calls this again for every interaction.

    Args:
        path: the gallery's folder.
        encoder: the encoder, if it is not where the gallery says.
        device: where the encoder runs.
    """
    st.set_page_config(page_title="diantu 垫图", layout="wide")  # an icon would come from another host
    gallery = _opened(path, encoder or None, device)
    title, language = st.columns([4, 1], vertical_alignment="bottom")
    with language:
        words = _words()
    with title:
        st.header("diantu 垫图", anchor=False)
        st.text(words["rows"].format(count=f"{len(gallery):,}"))
    query, options = _asked(words), _options(words)
    if "row" in st.session_state:
        st.button(words["back"], on_click=_forget_row, type="tertiary")
        query = Query(rows=[st.session_state["row"]])
    if query is None:
        return
    try:
        gallery.refresh()  # rows may have been added after the last search
        hits = gallery.search(query, **options)
    except DiantuError as error:
        _refused(words["failed"], error)
    else:
        _show_hits(hits, words)


@st.cache_resource(show_spinner=False)
def _opened(path: str, encoder: str | None, device: str) -> Gallery:
    """One open gallery for all sessions."""
    return Gallery.open(path, encoder=encoder, device=device)


def _words() -> Words:
    """The texts in the language that is chosen, at first that of the browser."""
    default = "zh" if (st.context.locale or "").lower().startswith("zh") else "en"
    chosen = st.segmented_control(
        "Language / 语言", list(LANGUAGES), default=default, format_func=LANGUAGES.__getitem__,
        key="language", label_visibility="collapsed",
    )  # fmt: skip
    return WORDS[chosen or default]


def _asked(words: Words) -> Query | None:
    """The query that the visitor gives in one of the three modes; None as long as there is none."""
    names: dict[str, str] = {"text": words["text"], "upload": words["upload"], "path": words["path"]}
    mode = st.segmented_control(
        words["how"], list(names), default="text", format_func=names.__getitem__, key="mode", on_change=_forget_row
    )
    if mode == "upload":
        uploaded = st.file_uploader(words["upload_help"], key="upload", on_change=_forget_row)
        return Query(image=uploaded.getvalue()) if uploaded is not None else None
    if mode == "path":
        image = st.text_input(words["path_help"], key="path", on_change=_forget_row).strip()
        return Query(image=Path(image).expanduser()) if image else None
    text = st.text_input(
        words["text_help"], placeholder=words["text_example"], key="text", on_change=_forget_row
    ).strip()
    return Query(text=text) if text else None


def _options(words: Words) -> dict[str, Any]:
    with st.expander(words["options"]):
        k = st.slider(words["k"], 1, _MAX_HITS, 12, key="k")
        min_zscore = st.slider(
            words["min_zscore"], 0.0, _MAX_ZSCORE, 0.0, 0.5, help=words["min_zscore_help"], key="min_zscore"
        )
        where = st.text_input(words["where"], help=words["where_help"], key="where").strip()
    return {"k": k, "min_zscore": min_zscore or None, "where": where or None}


def _show_hits(hits: Hits, words: Words) -> None:
    st.text(words["found"].format(count=len(hits), ms=hits.took_ms) if hits else words["none"])
    for start in range(0, len(hits), _IN_A_ROW):
        for column, hit in zip(st.columns(_IN_A_ROW), hits[start : start + _IN_A_ROW], strict=False):
            with column:
                _show_hit(hit, words)


def _show_hit(hit: Hit, words: Words) -> None:
    try:
        st.image(hit.thumbnail_bytes(_THUMBNAIL), width="stretch")
    except PixelsError as error:
        _refused(words["weak"], error)
    zscore = "" if hit.zscore is None else f"   z {hit.zscore:+.1f}"
    st.text(display.one_line(hit.caption or hit.key))
    st.text(display.one_line(f"{hit.rank}   {hit.score:.3f}{zscore}   {hit.key}"))
    st.button(words["similar"], key=f"similar-{hit.row}", on_click=_more_like, args=(hit.row,), type="tertiary")


def _more_like(row: int) -> None:
    st.session_state["row"] = row


def _forget_row() -> None:
    st.session_state.pop("row", None)


def _refused(heading: str, error: DiantuError) -> None:
    """Says why something is not possible; the heading is ours, the message may quote what others wrote."""
    st.warning(heading)
    st.text(display.one_line(str(error)))
