"""`diantu compact`."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)


def run(gallery: str, output: str, encoder: str | None = None, device: str = "auto") -> int:
    """Writes a gallery without its deleted rows into a new folder; started again, it goes on where it stopped.

    Args:
        gallery: the gallery's folder, which stays as it is.
        output: the new gallery's folder; parts that lost no rows share their files with the old one.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ...indexing.build.job import build_index, carry_index
    from ...indexing.store.duplicates import NAME as DUPLICATES
    from ...indexing.upkeep.compaction import compact
    from .common import load_gallery_encoder, print_report

    done = compact(Path(gallery), Path(output), show_progress=True)
    log.info(
        "%d rows, %d deleted ones dropped; %d parts linked, %d rewritten",
        done.num_rows,
        done.num_dropped,
        done.num_linked,
        done.num_rewritten,
    )
    if (Path(gallery) / DUPLICATES).exists():
        log.info("rows are numbered anew, so near-duplicates are to be found again: diantu dedup --gallery %s", output)
    if carry_index(Path(gallery), Path(output)):
        loaded = load_gallery_encoder(Path(output), encoder, device)
        print_report(build_index(Path(output), loaded, show_progress=True))
    else:
        log.info("next: diantu index --gallery %s", output)
    return 0
