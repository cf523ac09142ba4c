"""`diantu download`."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import logging
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from ..datasets import InputError
from ..datasets.laion import WORK, Request, choose_rows, find_tables

log = logging.getLogger(__name__)

_STDERR = 2
_ENVIRONMENT = {
    "NO_ALBUMENTATIONS_UPDATE": "1",  # it asks the network for updates when it is imported
    "WANDB_MODE": "disabled",
    "PYTHONUNBUFFERED": "1",  # its progress is to be seen when it happens
    # A larger one may need 3 GB, and img2dataset waits for ever for a worker that was killed for its memory.
    "OPENCV_IO_MAX_IMAGE_PIXELS": "178956970",
}
# img2dataset counts failures by the error's text, which has addresses in it.
_REASONS = (
    (r"HTTP Error (\d+)", r"HTTP \1"),
    (r"timed out", "timed out"),
    (r"X-Robots-Tag", "forbidden by X-Robots-Tag"),
    (r"decoding error|OpenCV|too (small|large)", "not a picture that can be read"),
    (r"SSL|CERTIFICATE", "TLS error"),
    (r"Name or service|name resolution|getaddrinfo|nodename|No address", "unknown host"),
    (r"Connection|Remote end|unreachable|IncompleteRead|No route", "connection failed"),
    (r"url|URL|codec|label", "not a URL that can be asked"),
)


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
) -> int:
    """Downloads the images of a LAION-style parquet table into shards; run it again to go on where it stopped.

    Args:
        source: parquet files, folders of them, or patterns ('laion/*.parquet').
        output: the folder of the shards.
        where: which rows, as one SQL condition, say 'punsafe < 0.1 AND width >= 512'; columns go by the table's names
            or by url, caption, width, height, similarity, punsafe, pwatermark, aesthetic.
        limit: at most this many rows, the first ones.
        image_size: pixels that larger images are shrunk to; none is enlarged.
        resize_mode: keep_ratio (the shorter side becomes image_size; all that encoders look at is kept),
            keep_ratio_largest (the longer side does), center_crop (a square), or no (JPEGs keep their bytes).
        images_per_shard: rows of a shard.
        num_processes: processes that download; by default as many as processors.
        num_threads: downloads at a time in each process.
        timeout: seconds to wait for a server.
        retries: how often a failed download is tried again.
    """
    started = time.perf_counter()
    root = Path(output)
    request = Request(
        where=where,
        limit=limit,
        image_size=image_size,
        resize_mode=resize_mode,
        images_per_shard=images_per_shard,
    )
    num_processes = (os.cpu_count() or 1) if num_processes is None else num_processes
    options = _options(root, request, num_processes, num_threads, timeout, retries)
    tables = find_tables(source)
    with _exclusive(root) as lock:
        num_rows = choose_rows(tables, request, root)
        num_shards = -(-num_rows // images_per_shard)
        num_left = num_shards - len(_read_stats(root))
        exit_code = _run_img2dataset(root, options, num_left, lock) if num_left else 0
        stats = _read_stats(root)
    failed = _failures(stats)
    num_images = sum(shard["count"] for shard in stats) - sum(failed.values())
    _report(num_images, num_rows, len(stats), failed, time.perf_counter() - started)
    if exit_code or len(stats) < num_shards:
        log.error(
            "img2dataset ended with %d and left %d of %d shards undone, what it said stands above; "
            "run the same command again to go on",
            *(exit_code, num_shards - len(stats), num_shards),
        )
        return 1
    shutil.rmtree(root / "_tmp", ignore_errors=True)
    if not num_images:
        log.error("no image could be downloaded; the column error_message of %s/*.parquet says why", output)
        return 1
    log.info("next: diantu embed --source %s --output gallery", shlex.quote(output))
    return 0


def _options(
    root: Path, request: Request, num_processes: int, num_threads: int, timeout: int, retries: int
) -> dict[str, Any]:
    """What img2dataset is told, less the columns, which are not known yet.

    It does not turn a picture that it shrinks as its EXIF says (the field `exif` keeps that), and takes 16-bit pictures
    for white; no option of it changes that.
    """
    if importlib.util.find_spec("img2dataset") is None:
        raise InputError('downloading needs the package img2dataset; install it with: pip install "diantu[download]"')
    for name, value, least in (
        ("number of processes", num_processes, 1),
        ("number of threads", num_threads, 1),
        ("timeout", timeout, 1),
        ("number of retries", retries, 0),
    ):
        if value < least:
            raise InputError(f"the {name} {value} cannot be used; give {least} or more")
    folder = root.resolve()
    if set("*?[]") & set(str(folder)):
        raise InputError(f"img2dataset would take {folder} for a pattern; give an output without any of * ? [ ]")
    return {
        "url_list": folder / WORK / "rows",
        "input_format": "parquet",
        "output_folder": folder,
        "output_format": "webdataset",
        "incremental_mode": "incremental",
        "image_size": request.image_size,
        "resize_mode": request.resize_mode,
        # Enlarging and encoding anew adds nothing but bytes, and a JPEG that keeps its bytes keeps its orientation too.
        "resize_only_if_bigger": True,
        "skip_reencode": True,
        "number_sample_per_shard": request.images_per_shard,
        "processes_count": num_processes,
        "thread_count": num_threads,
        "timeout": timeout,
        "retries": retries,
    }


@contextlib.contextmanager
def _exclusive(root: Path) -> Iterator[IO[str]]:
    """Holds the lock of a download. img2dataset inherits it: the lock lasts until both have ended, however they do."""
    (root / WORK).mkdir(parents=True, exist_ok=True)
    with (root / WORK / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"another download is writing to {root}; wait for it, or stop it") from error
        yield file


def _run_img2dataset(root: Path, options: dict[str, Any], num_shards: int, lock: IO[str]) -> int:
    """Runs img2dataset over the rows that are chosen, and gives its exit code. It skips the shards that are done."""
    work = (root / WORK).resolve()
    columns = pq.read_schema(work / "rows" / "00000.parquet").names
    options = {
        **options,
        "processes_count": min(options["processes_count"], num_shards),
        "url_col": "url",
        **({"caption_col": "caption"} if "caption" in columns else {}),
        "save_additional_columns": [name for name in columns if name not in ("url", "caption")],
    }
    # `python -m` finds no __main__ in the package. The folder is one where no file of the user's hides a module.
    command = [sys.executable, "-c", "from img2dataset import main; main()"]
    process = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items())],
        cwd=work,
        env={**os.environ, **_ENVIRONMENT},
        stdin=subprocess.DEVNULL,
        stdout=_STDERR,
        pass_fds=[lock.fileno()],
        start_new_session=True,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        print(file=sys.stderr)  # the line of its progress bar is open
        raise
    finally:
        # Its workers would finish their shards after it. On Ctrl-C it would end with 0, as if all were done.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _read_stats(root: Path) -> list[dict[str, Any]]:
    """What img2dataset says of each shard that it has finished."""
    stats = []
    for path in sorted(root.glob("*_stats.json")):
        try:
            shard = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:  # it was stopped while it wrote the file; without one the shard is done again
            path.unlink()
            continue
        # A sample that it could not write is counted as a success, but has no row.
        num_rows = pq.read_metadata(str(path).replace("_stats.json", ".parquet")).num_rows
        stats.append({**shard, "lost": shard["count"] - num_rows})
    return stats


def _failures(stats: list[dict[str, Any]]) -> dict[str, int]:
    """Failed downloads by reason, the most frequent first."""
    failures: Counter[str] = Counter()
    for shard in stats:
        for message, count in shard["status_dict"].items():
            if message != "success":
                failures[_reason(message)] += count
        failures["lost by img2dataset, see its messages"] += shard["lost"]
    return {reason: count for reason, count in failures.most_common() if count}


def _reason(message: str) -> str:
    for pattern, reason in _REASONS:
        if match := re.search(pattern, message):
            return match.expand(reason)
    return "other"


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
