"""`diantu compact`."""

from __future__ import annotations

import logging
from pathlib import Path

from .common import has_duplicates, load_gallery_encoder, log_index

log = logging.getLogger(__name__)


def run(gallery: str, output: str, merge: bool = False, encoder: str | None = None, device: str = "auto") -> int:
    """Copies a gallery without its deleted rows into a new folder; run it again to continue after an interruption.

    Args:
        gallery: the gallery's folder, which is not changed.
        output: the new gallery's folder; files of parts without deleted rows are hard links to the old ones.
        merge: join small parts to parts of up to 100 000 rows.
        encoder: the gallery's encoder, if its weights have moved since the gallery was made.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ...indexing.build.job import build_index, carry_index, has_index
    from ...indexing.upkeep.compaction import compact

    source, target = Path(gallery), Path(output)
    done = compact(source, target, merge=merge, show_progress=True)
    log.info(
        "%d rows kept, %d deleted rows dropped; %d parts linked, %d rewritten%s",
        done.num_rows,
        done.num_dropped,
        done.num_linked,
        done.num_rewritten,
        f", {done.num_merged} joined with others" if merge else "",
    )
    if has_duplicates(source):
        log.info("row numbers have changed, so find near-duplicates again: diantu dedup --gallery %s", output)
    if carry_index(source, target):
        loaded = load_gallery_encoder(target, encoder, device)
        log_index(build_index(target, loaded, show_progress=True))
    elif has_index(target):
        log.info("the new gallery's index is complete")
    else:
        log.info("next: diantu index --gallery %s", output)
    return 0
