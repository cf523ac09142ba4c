"""Runs img2dataset in a process of its own: its options, its lock, and the statistics that it writes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from .. import files
from ..errors import InputError
from ..files import read_text
from .rows import WORK, Request

_STDERR = 2
_ENVIRONMENT = {
    "NO_ALBUMENTATIONS_UPDATE": "1",  # albumentations asks the network for updates when it is imported
    "WANDB_MODE": "disabled",
    "PYTHONUNBUFFERED": "1",  # its progress must be visible at once
    # A larger image can need 3 GB, and img2dataset waits forever for a worker that was killed for its memory use.
    "OPENCV_IO_MAX_IMAGE_PIXELS": "178956970",
}
# img2dataset counts failures by the error's text, which can contain addresses. The first pattern that fits decides.
_REASONS = (
    (r"HTTP Error (\d+)", r"HTTP \1"),
    (r"timed out", "timed out"),
    (r"X-Robots-Tag", "forbidden by X-Robots-Tag"),
    (r"decoding error|OpenCV|too (small|large)", "not a readable image"),
    (r"SSL|CERTIFICATE", "TLS error"),
    (r"Name or service|name resolution|getaddrinfo|nodename|No address", "unknown host"),
    (r"Connection|Remote end|unreachable|IncompleteRead|No route", "connection failed"),
    (r"url|URL|codec|label", "not a usable URL"),
)


def options(
    root: Path, request: Request, num_processes: int, num_threads: int, timeout: int, retries: int
) -> dict[str, Any]:
    """The options of img2dataset, without the columns, which are not known yet.

    img2dataset does not rotate an image that it shrinks by its EXIF orientation (the field `exif` keeps that), and
    makes 16-bit images white. It has no option that changes this.

    Raises:
        InputError: if img2dataset is not installed, or an option cannot be used.
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
        raise InputError(f"img2dataset would read {folder} as a pattern; give an output without any of * ? [ ]")
    return {
        "url_list": folder / WORK / "rows",
        "input_format": "parquet",
        "output_folder": folder,
        "output_format": "webdataset",
        "incremental_mode": "incremental",
        "image_size": request.image_size,
        "resize_mode": request.resize_mode,
        # Enlarging and re-encoding only add bytes, and a JPEG that keeps its bytes keeps its orientation.
        "resize_only_if_bigger": True,
        "skip_reencode": True,
        "number_sample_per_shard": request.images_per_shard,
        "processes_count": num_processes,
        "thread_count": num_threads,
        "timeout": timeout,
        "retries": retries,
    }


def exclusive(root: Path) -> AbstractContextManager[IO[str]]:
    """Holds the lock of a download. img2dataset inherits it, so the lock lasts until both processes have ended."""
    return files.exclusive(root, f"{WORK}/lock", what="download")


def run_img2dataset(root: Path, settings: dict[str, Any], num_shards: int, lock: IO[str]) -> int:
    """Runs img2dataset over the chosen rows, and returns its exit code. It skips the shards that are finished.

    Args:
        root: the folder of the shards.
        settings: what `options` returned.
        num_shards: the number of shards that are not finished; more processes than that are of no use.
        lock: the open file of `exclusive`.
    """
    work = (root / WORK).resolve()
    columns = pq.read_schema(work / "rows" / "00000.parquet").names
    arguments = {
        **settings,
        "processes_count": min(settings["processes_count"], num_shards),
        "url_col": "url",
        **({"caption_col": "caption"} if "caption" in columns else {}),
        "save_additional_columns": [name for name in columns if name not in ("url", "caption")],
    }
    # It runs in a folder where no file of the user hides a module.
    command = [sys.executable, "-m", f"{__package__}.downloader"]
    process = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in arguments.items())],
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
        sys.stderr.write("\n")  # ends the line of its progress bar
        raise
    finally:
        # Its workers would go on with their shards. On Ctrl-C it would exit with 0, as if it had finished.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def read_stats(root: Path) -> list[dict[str, Any]]:
    """The statistics that img2dataset wrote for each finished shard, with `lost`, the number of samples without row."""
    stats = []
    for path in sorted(root.glob("*_stats.json")):
        try:
            shard = json.loads(read_text(path))
            # A sample that it could not write counts as a success there, but has no row.
            num_rows = pq.read_metadata(str(path).replace("_stats.json", ".parquet")).num_rows
        except (ValueError, FileNotFoundError):
            # It was stopped during the write, or the disk was full; without the file the shard is downloaded again.
            path.unlink()
            continue
        stats.append({**shard, "lost": shard["count"] - num_rows})
    return stats


def failures(stats: list[dict[str, Any]]) -> dict[str, int]:
    """The number of failed downloads by reason, the most frequent reason first."""
    counts: Counter[str] = Counter()
    for shard in stats:
        for message, count in shard["status_dict"].items():
            if message != "success":
                counts[_reason(message)] += count
        counts["lost by img2dataset, see its messages"] += shard["lost"]
    return {reason: count for reason, count in counts.most_common() if count}


def _reason(message: str) -> str:
    for pattern, reason in _REASONS:
        if match := re.search(pattern, message):
            return match.expand(reason)
    return "other"
