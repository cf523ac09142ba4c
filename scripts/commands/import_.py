"""`diantu import`."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

log = logging.getLogger(__name__)


def run(source: str, output: str, encoder: str, device: str = "auto") -> int:
    """Makes a gallery of embeddings that clip-retrieval computed or LAION published.

    Files of unit-length float16 vectors are hard links to the originals; others are converted.

    Args:
        source: the folder with img_emb/*.npy and metadata/*.parquet.
        output: the gallery's folder.
        encoder: the encoder that computed the vectors, for example hf:openai/clip-vit-base-patch32; it will encode the
            queries.
        device: where the encoder runs: auto, cpu, cuda or cuda:<number>.
    """
    from ...indexing.encoders import load_encoder
    from ...indexing.upkeep.importing import import_vectors

    # clip-retrieval resizes with Pillow, and so must the images of queries.
    spec = replace(load_encoder(encoder, device=device, precision="fp32").spec, resizer="pillow")
    done = import_vectors(Path(source), Path(output), spec, show_progress=True)
    if done.num_empty:
        log.warning(
            "%d rows have a vector of zeros or one that is not finite: they are left out; diantu status --failures "
            "lists them",
            done.num_empty,
        )
    log.info(
        "%d rows; %d files of vectors linked, %d converted to unit-length float16; next: diantu index --gallery %s",
        done.num_rows,
        done.num_linked,
        done.num_converted,
        output,
    )
    return 0
