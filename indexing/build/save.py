"""Writes the two files of an index, `index.faiss` and `index.json`, so that a kill never separates them for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss

from ...datasets.files import finish_replacing, json_bytes, replacing_together
from ..index.report import NAME, IndexReport

_INDEX = "index.faiss"
_faiss: Any = faiss  # its stubs lack the writers


def save_index(folder: Path, index: faiss.Index, describe: Callable[[int], IndexReport]) -> IndexReport:
    """Replaces an index and its report.

    Args:
        folder: the index's folder, which is created if it does not exist.
        index: what to write.
        describe: called with the size of the written file in bytes; returns the report, which may take long.

    Returns:
        The report.

    Raises:
        FileError: if the files cannot be written; the old ones then stay as they are.
    """
    with replacing_together(folder / _INDEX, folder / NAME) as (index_path, report_path):
        with index_path.open("wb") as file:
            # FAISS's own writer raises no OSError, and does not notice an error when it closes the file.
            faiss.write_index(index, _faiss.PyCallbackIOWriter(file.write))
        report = describe(index_path.stat().st_size)
        report_path.write_bytes(json_bytes(report.to_json()))
    return report


def finish_saving(folder: Path) -> None:
    """Completes what a job that was killed had begun to replace, or removes it. Only while the job lock is held."""
    finish_replacing(folder / _INDEX, folder / NAME)
