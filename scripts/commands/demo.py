"""`diantu demo`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ...datasets import find_shards, photos
from ...generation import Copywriter, GenerationRequest, ModelOptions, Results, generate, load_strategies
from ...generation.run.pages import poster_section
from ...search import Gallery, Hits
from ...search.sheets.sheet import write_sheet

if TYPE_CHECKING:
    from ...indexing.encoders import ImageEncoder

log = logging.getLogger(__name__)

# Advertising copy, of which the photograph, its style and the poster are made.
_COPY = (
    ("周末，去看大熊猫", "竹林深处，慢下来的一天"),
    ("Sleep in a castle", "Old walls, wide views, quiet nights"),
)
_TEXTS = ("大熊猫", "一座城堡", "hammer", "windmill by the sea")
_PICTURE = "landmark_colosseum.jpg"
_NUM_HITS = 6
_NEXT = """next
  ask more:         diantu search --gallery {gallery} --text '一只猫' --sheet hits.html
  your own images:  diantu embed --source photos/ --output mine && diantu index --gallery mine
  Chinese-CLIP:     pip install "diantu[cn-clip]", then embed with --encoder cn_clip:ViT-B-16"""


def run(output: str = "diantu-demo", device: str = "auto") -> int:
    """Embeds and indexes 184 photographs, asks in Chinese and English, makes posters, and writes a page of all that.

    Args:
        output: the folder that the shards, the gallery and the page go to.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    root = Path(output)
    gallery, encoder = build_gallery(root, device)
    opened = Gallery.open(gallery, encoder=encoder)
    asked = [opened.search(text, k=_NUM_HITS) for text in _TEXTS]
    asked.append(opened.search(image=photos.FOLDER / _PICTURE, k=_NUM_HITS))
    for hits in asked:
        _print_hits(hits)
    posters = _make_posters(root / "posters", opened)
    page = root / "demo.html"
    made = poster_section(posters, "copy → keywords → photograph → redrawn → headline", page)
    write_sheet([hits.section() for hits in asked], page, title="diantu: what 184 photographs answer", further=made)

    print(f"posters  {', '.join(str(poster.path) for poster in posters)}")
    print(f"page     {page.resolve()}")
    print(f"gallery  {gallery.resolve()}")
    print(_NEXT.format(gallery=gallery))
    return 0


def _make_posters(folder: Path, gallery: Gallery) -> Results:
    """A poster of each piece of copy, without any model of diffusers."""
    requests = [GenerationRequest(prompt=headline, headline=headline, subline=subline) for headline, subline in _COPY]
    maker = load_strategies(["stylize", "overlay"], {}, ModelOptions())
    return generate(requests, folder, maker, gallery=gallery, copywriter=Copywriter())


def build_gallery(root: Path, device: str = "auto") -> tuple[Path, ImageEncoder]:
    """Packs the photographs into `root`, embeds and indexes them, as far as that has not been done yet."""
    from ...indexing.build.job import build_index
    from ...indexing.embed.job import embed
    from ...indexing.encoders import load_encoder

    gallery = root / "gallery"
    encoder = load_encoder("conse", device=device)
    shards = photos.pack(root / "shards", num_shards=2)
    log.info("packed %d photographs into %s", len(photos.rows()), ", ".join(map(str, shards)))
    log.info("%s", embed(find_shards([str(root / "shards")]), gallery, encoder, show_progress=True))
    build_index(gallery, encoder)
    return gallery, encoder


def _print_hits(hits: Hits) -> None:
    print(f"{hits.query.kind}: {hits.query.label}   ({hits.took_ms:.0f} ms)")
    for hit in hits:
        print(f"  {hit.rank}  {hit.score:.3f}  z {hit.zscore or 0:+.1f}  {hit.key:<32} {hit.caption}")
