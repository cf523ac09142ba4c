"""`diantu search`."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np

log = logging.getLogger(__name__)


def run(
    gallery: str,
    text: str | None = None,
    image: str | None = None,
    vector: str | None = None,
    k: int = 12,
    effort: str = "balanced",
    fold_duplicates: bool = False,
    sheet: str | None = None,
    json: bool = False,
    encoder: str | None = None,
    device: str = "auto",
) -> int:
    """Asks a gallery by a text, a picture or a vector.

    Args:
        gallery: the gallery's folder.
        text: what to look for, in any language that the encoder knows.
        image: the path of a picture.
        vector: the path of an .npy file with one vector of the gallery's encoder.
        k: how many hits.
        effort: fast, balanced or exact, or the share of the exact results that is to be found, as 0.98.
        fold_duplicates: of near-duplicates (see diantu dedup) show only the one that answers best.
        sheet: write the hits as a contact sheet, .html or .png.
        json: machine-readable, on stdout.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ..search import Gallery

    opened = Gallery.open(gallery, encoder=encoder, device=device)
    given = None if vector is None else _read_vector(vector)
    hits = opened.search(text, image=image, vector=given, k=k, effort=effort, fold_duplicates=fold_duplicates)
    if not len(hits):
        log.warning("the gallery %s has no rows yet; embed some pictures first", gallery)
    if fold_duplicates and opened.num_unexamined:
        log.warning(
            "%d rows were added after diantu dedup, whose duplicates are not folded; run it again",
            opened.num_unexamined,
        )
    if json:
        _print_json(hits.to_json())
    else:
        for hit in hits:
            zscore = "" if hit.zscore is None else f"  z {hit.zscore:+5.1f}"
            folded = f"  (+{hit.folded})" if hit.folded else ""
            print(f"{hit.rank:>3}  {hit.score:.3f}{zscore}  {hit.key}{folded}  {hit.caption or ''}")
    if sheet:
        log.info("sheet: %s", hits.sheet(sheet))
    return 0


def _print_json(value: object) -> None:
    print(json.dumps(value, ensure_ascii=False))


def _read_vector(path: str) -> np.ndarray:
    from ..datasets import InputError

    try:
        return np.squeeze(np.asarray(np.load(Path(path), allow_pickle=False), np.float32))
    except (OSError, TypeError, ValueError, EOFError) as error:
        raise InputError(f"the vector {path} cannot be read ({error}); give an .npy file of one vector") from error
