"""The journal of a run: one row per picture in `manifest.jsonl`, and the same row inside the PNG."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, get_args

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ...datasets import InputError, checksums
from ...datasets.files import read_bytes, sha256_of_file, sync_folder, writing

log = logging.getLogger(__name__)

NAME = "manifest.jsonl"
PICTURES = "pictures"
# The PNG chunk that holds the row, without values that depend on the speed of the machine.
_CHUNK = "diantu"
# The fastest level: at level 6, a picture of 1024 × 1024 takes 0.4 s instead of 0.1 s and is one eighth smaller.
_COMPRESSION = 1
# The last field of a line: the beginning of the SHA-256 of all bytes of the line before this field.
_SEAL = re.compile(rb', "checksum": "([0-9a-f]{16})"\}\Z')

Status: TypeAlias = Literal["done", "failed", "skipped", "refused"]
Row: TypeAlias = Mapping[str, Any]


class Journal:
    """The rows of a run by picture name. If a name has several rows, the last one counts.

    Attributes:
        rows: by picture name.
        num_damaged: lines that were damaged, incomplete or repeated when the file was read. A picture that is done is
            not made again, so no job writes its line twice.
        num_unsealed: lines without a checksum, as earlier releases wrote them.
    """

    def __init__(self, root: Path) -> None:
        """Reads the existing rows. A line that a kill or a full disk left incomplete is ignored.

        Raises:
            InputError: if the file cannot be read.
        """
        self._root = root
        self._path = root / NAME
        self._lines: dict[str, bytes] = {}
        self.rows: dict[str, Row] = {}
        self._file: IO[bytes] | None = None
        found, num_torn = _read(self._path)
        done = [line for row, line in found if row["status"] == "done"]
        self.num_damaged = num_torn + len(done) - len(set(done))
        self.num_unsealed = sum(_SEAL.search(line.removesuffix(b"\n")) is None for _, line in found)
        for row, line in found:
            self.rows[row["name"]], self._lines[row["name"]] = row, line
        if num_torn:
            log.warning(
                "%d lines of %s are incomplete or not rows of a run; diantu makes their pictures again",
                num_torn,
                self._path,
            )

    def keep(self, rows: Iterable[Row]) -> None:
        """Rewrites the file with exactly these rows in this order, unless it already holds them."""
        rows = list(rows)
        # A line that was read stays as it is, also if an earlier release wrote it without a checksum.
        lines = {row["name"]: self._lines.get(row["name"]) or _line(row) for row in rows}
        self.close()
        checksums.write_checked(self._root, NAME, b"".join(lines.values()), is_prefix=True)
        self.rows, self._lines = {row["name"]: row for row in rows}, lines

    def append(self, row: Row) -> None:
        """Adds a row; it is on disk when this returns."""
        line = _line(row)
        with writing(self._path):
            if self._file is None:
                is_new = not self._path.exists()
                self._file = self._path.open("ab")
                if is_new:
                    sync_folder(self._root)
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
        self._lines[row["name"]] = line
        self.rows[row["name"]] = _row(line)  # as it is read back later

    def close(self) -> None:
        """Closes the file; the next row opens it again."""
        file, self._file = self._file, None
        if file is not None:
            with writing(self._path):  # it tries again to write what a full disk has refused
                file.close()

    def is_intact(self, row: Row) -> bool:
        """Returns whether the picture of a row with the status `done` exists and is unchanged."""
        path = self._root / str(row.get("file"))
        return path.is_file() and sha256_of_file(path) == row.get("sha256")


def encode_png(image: Image.Image, facts: Mapping[str, Any]) -> bytes:
    """Returns an image as PNG with `facts` (JSON values) inside. Equal input gives equal bytes."""
    info = PngInfo()
    info.add_itxt(_CHUNK, json.dumps(facts, ensure_ascii=False))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=info, compress_level=_COMPRESSION)
    return buffer.getvalue()


def read_facts(path: str | Path) -> dict[str, Any]:
    """Returns the facts inside a picture from a run: prompt, seed, references with licence, model and more.

    Raises:
        InputError: if the file has no such facts, or cannot be read.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return json.loads(image.text[_CHUNK])  # type: ignore[attr-defined]
    except (OSError, ValueError, KeyError, SyntaxError) as error:
        raise InputError(f"{path} contains no facts about how it was made; give a PNG from a run of diantu") from error


def _read(path: Path) -> tuple[list[tuple[Row, bytes]], int]:
    """The rows with their lines, and the number of other lines."""
    found, num_torn = [], 0
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        return [], 0
    *lines, rest = data.split(b"\n")
    for line in [*lines, *([rest] if rest else [])]:
        try:
            found.append((_row(line), line + b"\n"))
        except (ValueError, TypeError, KeyError, RecursionError):
            num_torn += 1
    return found, num_torn


def _row(line: bytes) -> Row:
    """The row in a line, without its checksum.

    Raises:
        ValueError: if the line is not a row, or does not have its checksum.
    """
    line = line.removesuffix(b"\n")
    found = _SEAL.search(line)
    if found and _checksum(line[: found.start()]) != found[1]:
        raise ValueError("the line does not have its checksum")
    row = json.loads(line.decode("utf-8"))
    if not isinstance(row, dict):
        raise ValueError("the line is not a row")
    if (row.pop("checksum", None) is None) != (found is None):
        raise ValueError("the line does not end with its checksum")
    _check(row)
    return row


def _check(row: Row) -> None:
    """Checks the values that decide what becomes of a picture; a row that was edited may have any.

    Raises:
        ValueError: if a value is not what `diantu generate` writes; or KeyError or TypeError.
    """
    if not isinstance(row["name"], str) or row["status"] not in get_args(Status):
        raise ValueError("no row of a run")
    if row["status"] == "done" and row["file"] != f"{PICTURES}/{row['name']}.png":
        raise ValueError("the picture is in another place")


def _line(row: Row) -> bytes:
    body = json.dumps(row, ensure_ascii=False).removesuffix("}").encode()
    return body + b', "checksum": "' + _checksum(body) + b'"}\n'


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest()[:16].encode()
