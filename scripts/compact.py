"""`diantu compact`."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger(__name__)


def run(gallery: str, output: str) -> int:
    """Writes a gallery without its deleted rows into a new folder; started again, it goes on where it stopped.

    Args:
        gallery: the gallery's folder, which stays as it is.
        output: the new gallery's folder; parts that lost no rows share their files with the old one.
    """
    from ..indexing.compaction import compact

    done = compact(Path(gallery), Path(output), show_progress=True)
    log.info(
        "%d rows, %d deleted ones dropped; %d parts linked, %d rewritten; next: diantu index --gallery %s",
        done.num_rows,
        done.num_dropped,
        done.num_linked,
        done.num_rewritten,
        output,
    )
    return 0
