"""`diantu demo`."""

from __future__ import annotations

import logging
import os
import sys
import threading
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets.errors import InputError
from .common import print_lines
from .serve import announce, require_packages, run_until_stopped

if TYPE_CHECKING:
    from ...generation import Results
    from ...indexing.encoders import ImageEncoder
    from ...search import Gallery, Hits

log = logging.getLogger(__name__)

# Advertising copy: headline and subline of each poster.
_COPY = (
    ("周末，去看大熊猫", "竹林深处，慢下来的一天"),
    ("Sleep in a castle", "Old walls, wide views, quiet nights"),
)
_TEXTS = ("大熊猫", "一座城堡", "hammer", "windmill by the sea")
_IMAGE = "landmark_colosseum.jpg"
_NUM_HITS = 6
_NEXT = """next
  search again:     diantu search --gallery {gallery} --text '一只猫' --sheet hits.html
  your own images:  diantu embed --source photos/ --output mine && diantu index --gallery mine
  Chinese-CLIP:     pip install "diantu[cn-clip]", then embed with --encoder cn_clip:ViT-B-16"""


def run(output: str = "diantu-demo", device: str = "auto", serve: bool = False, port: int = 8000) -> int:
    """Embeds and indexes 184 photographs, searches them in Chinese and English, and makes posters from two of them.

    The results are on one HTML page.

    Args:
        output: the folder for the shards, the gallery, the posters and the page.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
        serve: then serve the gallery, as diantu serve does, and open its page in a browser.
        port: the port of the service; another one is taken if it is in use.
    """
    from ...datasets import photos
    from ...generation.run.pages import poster_section
    from ...search import Gallery
    from ...search.sheets.sheet import write_sheet

    if serve:
        require_packages()  # before the work
    root = Path(output)
    gallery, encoder = build_gallery(root, device)
    opened = Gallery.open(gallery, encoder=encoder)
    answers = [opened.search(text, k=_NUM_HITS) for text in _TEXTS]
    answers.append(opened.search(image=photos.FOLDER / _IMAGE, k=_NUM_HITS))
    for hits in answers:
        _print_hits(hits)
    posters = _make_posters(root / "posters", opened)
    page = root / "demo.html"
    made = poster_section(posters, "copy → keywords → photograph → stylized → headline", page)
    write_sheet([hits.section() for hits in answers], page, title="diantu: searches in 184 photographs", further=made)

    print(f"posters  {', '.join(str(poster.path) for poster in posters)}")
    print(f"page     {page.resolve()}")
    print(f"gallery  {gallery.resolve()}")
    print(_NEXT.format(gallery=gallery))
    if serve:
        _serve(gallery, encoder, port)
    return 0


def _serve(gallery: Path, encoder: ImageEncoder, port: int) -> None:
    """Serves the gallery until it is stopped, and opens its page where there is a browser."""
    from ...search.service.server import Server
    from ...search.service.settings import Settings

    def open_page(url: str) -> None:
        announce(url)
        if _has_display():
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()  # it may wait for the browser

    settings = Settings(galleries={"demo": gallery}, port=port)
    try:
        server = Server(settings, {"demo": encoder}, on_start=open_page)
    except InputError:  # the port is in use
        server = Server(replace(settings, port=0), {"demo": encoder}, on_start=open_page)
    run_until_stopped(server)


def _has_display() -> bool:
    """Whether a browser would have a window; one in a terminal would take it over."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def build_gallery(root: Path, device: str = "auto") -> tuple[Path, ImageEncoder]:
    """Packs the photographs into shards below `root`, embeds and indexes them; skips what is done already.

    Returns:
        The gallery's folder, and the encoder that made it.
    """
    from ...datasets import find_shards, photos
    from ...indexing.build.job import build_index
    from ...indexing.embed import embed
    from ...indexing.encoders import load_encoder

    gallery = root / "gallery"
    encoder = load_encoder("conse", device=device)
    shards = photos.pack(root / "shards", num_shards=2)
    log.info("packed %d photographs into %s", len(photos.rows()), ", ".join(map(str, shards)))
    log.info("%s", embed(find_shards([str(root / "shards")]), gallery, encoder, show_progress=True))
    build_index(gallery, encoder)
    return gallery, encoder


def _make_posters(folder: Path, gallery: Gallery) -> Results:
    """Makes a poster of each piece of copy, without a diffusion model."""
    from ...generation import Copywriter, GenerationRequest, ModelOptions, generate, load_strategies

    requests = [GenerationRequest(prompt=headline, headline=headline, subline=subline) for headline, subline in _COPY]
    maker = load_strategies(["stylize", "overlay"], {}, ModelOptions())
    return generate(requests, folder, maker, gallery=gallery, copywriter=Copywriter())


def _print_hits(hits: Hits) -> None:
    print(f"{hits.query.kind}: {hits.query.label}   ({hits.took_ms:.0f} ms)")
    print_lines(f"  {hit.rank}  {hit.score:.3f}  z {hit.zscore or 0:+.1f}  {hit.key:<32} {hit.caption}" for hit in hits)
