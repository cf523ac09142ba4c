"""Reads the files of a run."""

from __future__ import annotations

import json
from pathlib import Path

from diantu.generation import Results


def pictures_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "pictures").iterdir())}


def manifest_of(root: Path) -> list[dict[str, object]]:
    """The rows without their checksums."""
    lines = (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [{name: value for name, value in json.loads(line).items() if name != "checksum"} for line in lines]


def statuses(results: Results) -> dict[str, str]:
    return {result.name: result.status for result in results}


def num_rows(root: Path) -> int:
    path = root / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
