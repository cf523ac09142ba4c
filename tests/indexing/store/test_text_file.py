"""Texts that conditions read where they are: damage is told, and no file makes a reader look beyond its texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from diantu.datasets.errors import InputError
from diantu.indexing.store.rows.text_file import TextWriter, opened_texts

TEXTS = {"caption": ["山\n水", "", None, "a cat"], "title": ["one", "two", "three", "four"]}


def written(path: Path, *tables: pa.Table) -> Path:
    writer = TextWriter(path, tables[0].column_names)
    for table in tables:
        writer.write(table)
    writer.close()
    return path


def texts_of(path: Path, num_rows: int = 4) -> dict[str, list[str | None]]:
    with opened_texts(path, path.stat().st_size, "make it again") as file:
        return {name: file.column(name, range(file.num_batches), num_rows).to_pylist() for name in TEXTS}


def test_parts_of_larger_arrays_come_back(tmp_path: Path) -> None:
    whole = pa.table(TEXTS)
    path = written(tmp_path / "t", whole.slice(1, 2), whole, whole.slice(3), whole.slice(0, 1))
    expected = {name: [*texts[1:3], *texts, texts[3], texts[0]] for name, texts in TEXTS.items()}
    assert texts_of(path, 8) == expected


def test_texts_stay_when_the_file_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path / "t", pa.table(TEXTS))
    with opened_texts(path, path.stat().st_size, "") as file:
        column = file.column("caption", [0], 4)
    path.unlink()
    assert column.to_pylist() == TEXTS["caption"]


def test_any_changed_byte_is_told_or_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "t", pa.table(TEXTS))
    right, told = path.read_bytes(), 0
    for place in range(len(right)):
        changed = bytearray(right)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        try:
            assert texts_of(path) == TEXTS, f"byte {place}"
        except InputError:
            told += 1
    assert told > len(right) // 3  # the rest is padding, and what Arrow writes twice


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "t", pa.table(TEXTS))
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with (
        pytest.raises(InputError, match=rf"it has {size - 1} bytes, {size} were written\); make it again"),
        opened_texts(path, size, "make it again"),
    ):
        pass


@pytest.mark.parametrize("offsets", [[0, 5, 2, 8], [0, 1 << 30, 4, 8], [0, 4, -1, 8]])
def test_offsets_beyond_the_texts_are_refused_though_the_checksum_fits(tmp_path: Path, offsets: list[int]) -> None:
    """A gallery from elsewhere may hold anything."""
    buffers = [None, pa.py_buffer(np.array(offsets, np.int32)), pa.py_buffer(b"abcdefgh")]
    array = pa.Array.from_buffers(pa.string(), 3, buffers)
    with pytest.raises(InputError, match="is damaged"):
        texts_of(written(tmp_path / "t", pa.table({"caption": array})), 3)
