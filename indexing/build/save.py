"""Writes the two files of an index, `index.faiss` or `index.graph`, and `index.json`.

A kill never separates them for good.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss

from ...datasets.checksums import announced
from ...datasets.files import TEMPORARY, finish_replacing, json_bytes, left_to_replace, replacing_together
from ..index.report import FAISS_FILE, GRAPH_FILE, NAME, IndexReport
from ..index.stored import described
from ..index.vamana import Vamana
from ..index.vamana_files import pack
from .graph import remove_work

_FILES = (FAISS_FILE, GRAPH_FILE)
_faiss: Any = faiss  # its stubs lack the writers


def save_index(
    root: Path, folder: Path, index: faiss.Index | Vamana, describe: Callable[[], IndexReport]
) -> IndexReport:
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
    name = GRAPH_FILE if isinstance(index, Vamana) else FAISS_FILE
    files = replacing_together(folder / name, folder / NAME)
    with announced(root, _name(root, folder)) as announce, files as (index_path, report_path):
        _write(index, index_path)
        report = described(describe(), index_path)
        report_path.write_bytes(json_bytes(report.to_json()))
        announce(report_path)
    _remove_others(folder, name)
    return report


def finish_saving(root: Path, folder: Path) -> None:
    """Completes what a job that was killed had begun to replace, or removes it. Only while the job lock is held."""
    # Of a pair that is incomplete, the first file is there; of a complete one only the report.
    begun = (name for name in _FILES if (folder / (name + TEMPORARY)).exists())
    first = folder / next(begun, FAISS_FILE)
    with announced(root, _name(root, folder)) as announce:
        if report := left_to_replace(first, folder / NAME):
            announce(report)
        finish_replacing(first, folder / NAME)
    remove_work(folder)


def _write(index: faiss.Index | Vamana, path: Path) -> None:
    if isinstance(index, Vamana):
        pack(index.folder, path)
        return
    with path.open("wb") as file:
        # FAISS's own writer raises no OSError, and does not notice an error when it closes the file.
        faiss.write_index(index, _faiss.PyCallbackIOWriter(file.write))


def _remove_others(folder: Path, name: str) -> None:
    """Removes the index of the other kind, which the new report does not describe."""
    for other in _FILES:
        if other != name:
            (folder / other).unlink(missing_ok=True)


def _name(root: Path, folder: Path) -> str:
    return (folder / NAME).relative_to(root).as_posix()
