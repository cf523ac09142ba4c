"""Writes the two files of an index, `index.faiss` and `index.json`, so that a kill never separates them for good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss

from ...datasets.checksums import announced
from ...datasets.files import finish_replacing, json_bytes, left_to_replace, replacing_together
from ..index.report import NAME, IndexReport
from ..index.stored import described

_INDEX = "index.faiss"
_faiss: Any = faiss  # its stubs lack the writers


def save_index(root: Path, folder: Path, index: faiss.Index, describe: Callable[[], IndexReport]) -> IndexReport:
    """Replaces an index and its report, and notes the report's checksum.

    Args:
        root: the gallery's folder.
        folder: the index's folder, which is created if it does not exist.
        index: what to write.
        describe: called when the index is written; returns the report, which may take long, without size and checksums
            of the file.

    Returns:
        The complete report.

    Raises:
        FileError: if the files cannot be written; the old ones then stay as they are.
    """
    files = replacing_together(folder / _INDEX, folder / NAME)
    with announced(root, _name(root, folder)) as announce, files as (index_path, report_path):
        with index_path.open("wb") as file:
            # FAISS's own writer raises no OSError, and does not notice an error when it closes the file.
            faiss.write_index(index, _faiss.PyCallbackIOWriter(file.write))
        report = described(describe(), index_path)
        report_path.write_bytes(json_bytes(report.to_json()))
        announce(report_path)
    return report


def finish_saving(root: Path, folder: Path) -> None:
    """Completes what a job that was killed had begun to replace, or removes it. Only while the job lock is held."""
    with announced(root, _name(root, folder)) as announce:
        if report := left_to_replace(folder / _INDEX, folder / NAME):
            announce(report)
        finish_replacing(folder / _INDEX, folder / NAME)


def _name(root: Path, folder: Path) -> str:
    return (folder / NAME).relative_to(root).as_posix()
