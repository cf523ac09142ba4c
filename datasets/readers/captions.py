"""The tables that img2dataset writes beside its tars."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ShardError
from ..places import path_of, resolve, with_path
from ..values import plain_rows

log = logging.getLogger(__name__)

Row = Mapping[str, Any]

# The ending of a tar, compressed or not.
_STEM = re.compile(r"(\.tar)?\.[^./]*$", re.IGNORECASE)


def read_img2dataset_rows(tar_uri: str) -> Mapping[str, Row]:
    """The rows of the parquet file that img2dataset writes beside a tar, by key; {} if there is no such file.

    They are in download order and include the failed downloads, so only the key joins them to samples.

    Raises:
        ShardError: if the file cannot be read; another try may succeed.
    """
    uri = with_path(tar_uri, f"{_STEM.sub('', path_of(tar_uri))}.parquet")
    filesystem, path = resolve(uri)
    if not filesystem.isfile(path):
        return {}
    try:
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            rows = plain_rows(file.read())
    except (OSError, pa.ArrowException) as error:
        raise ShardError(f"{uri} beside the tar cannot be read: {error}", may_pass=True) from error
    by_key: dict[str, Row] = {}
    for row in rows:
        key = row.pop("key", None)
        if key is not None:  # keys may repeat where the table is not img2dataset's: then the first row counts
            by_key.setdefault(str(key), row)
    if by_key and len(by_key) < len(rows):
        log.warning("%s: %d rows are not used, because their key is missing or repeats", uri, len(rows) - len(by_key))
    return by_key
