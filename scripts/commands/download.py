"""`diantu download`."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import time
from pathlib import Path
from typing import cast

from ...datasets.conditions import WHERE_SECONDS

log = logging.getLogger(__name__)


def run(
    source: list[str],
    output: str,
    where: str | None = None,
    limit: int | None = None,
    image_size: int = 384,
    resize_mode: str = "keep_ratio",
    images_per_shard: int = 10_000,
    num_processes: int | None = None,
    num_threads: int = 64,
    timeout: int = 10,
    retries: int = 0,
    where_timeout: float = WHERE_SECONDS,
) -> int:
    """Downloads the images of a LAION-style parquet table into shards; run it again to continue after an interruption.

    Args:
        source: parquet files, folders of them, or patterns ('laion/*.parquet').
        output: the folder of the shards.
        where: download only the rows that match this SQL condition, for example 'punsafe < 0.1 AND width >= 512'. It
            may use the table's column names or url, caption, width, height, similarity, punsafe, pwatermark, aesthetic.
        limit: download at most this many rows, the first ones.
        image_size: shrink larger images to this size in pixels; smaller images are not enlarged.
        resize_mode: keep_ratio (the shorter side becomes image_size, which keeps all that encoders see),
            keep_ratio_largest (the longer side becomes image_size), center_crop (a square), or no (JPEG files are
            stored unchanged).
        images_per_shard: rows per shard.
        num_processes: number of processes that download; by default one per CPU core.
        num_threads: simultaneous downloads in each process.
        timeout: seconds to wait for a server.
        retries: how often to retry a failed download.
        where_timeout: seconds that --where may take for each million rows, unless it is cheap by its form.
    """
    from ...datasets.download import img2dataset
    from ...datasets.download.rows import Request, ResizeMode, choose_rows, find_tables

    started = time.perf_counter()
    root = Path(output)
    request = Request(
        where=where,
        limit=limit,
        image_size=image_size,
        resize_mode=cast(ResizeMode, resize_mode),  # `Request` refuses other words in one sentence
        images_per_shard=images_per_shard,
    )
    num_processes = (os.cpu_count() or 1) if num_processes is None else num_processes
    options = img2dataset.options(root, request, num_processes, num_threads, timeout, retries)
    tables = find_tables(source)
    with img2dataset.exclusive(root) as lock:
        num_rows = choose_rows(tables, request, root, where_timeout=where_timeout)
        num_shards = -(-num_rows // images_per_shard)
        num_left = num_shards - len(img2dataset.read_stats(root))
        exit_code = img2dataset.run_img2dataset(root, options, num_left, lock) if num_left else 0
        stats = img2dataset.read_stats(root)
    failed = img2dataset.failures(stats)
    num_images = sum(shard["count"] for shard in stats) - sum(failed.values())
    _report(num_images, num_rows, len(stats), failed, time.perf_counter() - started)
    if exit_code or len(stats) < num_shards:
        log.error(
            "img2dataset ended with %d and left %d of %d shards undone, see its messages above; "
            "run the same command again to continue",
            *(exit_code, num_shards - len(stats), num_shards),
        )
        return 1
    shutil.rmtree(root / "_tmp", ignore_errors=True)
    if not num_images:
        log.error("no image could be downloaded; see the column error_message of %s/*.parquet", output)
        return 1
    log.info("next: diantu embed --source %s --output gallery", shlex.quote(output))
    return 0


def _report(num_images: int, num_rows: int, num_shards: int, failed: dict[str, int], seconds: float) -> None:
    num_failed = sum(failed.values())
    num_left = num_rows - num_images - num_failed
    reasons = ", ".join(f"{count} {reason}" for reason, count in failed.items())
    log.info(
        "%d of %d images downloaded into %d shards in %.1f s, %d failed%s%s",
        *(num_images, num_rows, num_shards, seconds, num_failed),
        f" ({reasons})" if reasons else "",
        f", {num_left} not tried yet" if num_left else "",
    )
