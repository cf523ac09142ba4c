"""Checksums of a file in blocks: a damaged byte is noticed in its block, and no byte of that block is given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import xxhash

from diantu.datasets.checksums import DamagedError
from diantu.indexing.index.blocks import Blocks

SIZE = 1000


def _file(path: Path, num_bytes: int) -> bytes:
    data = np.random.default_rng(num_bytes).bytes(num_bytes)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("num_bytes", [0, 1, SIZE - 1, SIZE, SIZE + 1, 20 * SIZE, 20 * SIZE + 7])
def test_all_bytes_are_given_in_their_order(tmp_path: Path, num_bytes: int) -> None:
    data = _file(tmp_path / "f", num_bytes)
    pieces = [data[low : low + SIZE] for low in range(0, num_bytes, SIZE)]
    with (tmp_path / "f").open("rb") as file:
        blocks = Blocks.of_open(file, size=SIZE)
        assert list(blocks.read(file)) == pieces
        assert list(blocks.read(file)) == pieces  # wherever the position is
    assert blocks.xxh3 == tuple(xxhash.xxh3_64(piece).hexdigest() for piece in pieces)
    assert Blocks.from_json(blocks.to_json()) == blocks


@pytest.mark.parametrize("position", [0, SIZE - 1, SIZE, 7 * SIZE + 500, 20 * SIZE, 20 * SIZE + 6])
def test_nothing_of_a_damaged_block_is_given(tmp_path: Path, position: int) -> None:
    data = _file(tmp_path / "f", 20 * SIZE + 7)
    with (tmp_path / "f").open("r+b") as file:
        blocks = Blocks.of_open(file, size=SIZE)
        os.pwrite(file.fileno(), bytes([data[position] ^ 1]), position)
        reading = blocks.read(file)
        for low in range(0, position // SIZE * SIZE, SIZE):
            assert next(reading) == data[low : low + SIZE]
        with pytest.raises(DamagedError, match="has changed since it was written"):
            next(reading)


def test_a_shorter_file_is_noticed(tmp_path: Path) -> None:
    _file(tmp_path / "f", 3 * SIZE)
    with (tmp_path / "f").open("r+b") as file:
        blocks = Blocks.of_open(file, size=SIZE)
        file.truncate(2 * SIZE)
        with pytest.raises(DamagedError):
            list(blocks.read(file))


def test_a_file_that_is_replaced_meanwhile_is_read_to_its_end(tmp_path: Path) -> None:
    data = _file(tmp_path / "f", 50 * SIZE)
    with (tmp_path / "f").open("rb") as file:
        reading = Blocks.of_open(file, size=SIZE).read(file)
        first = next(reading)
        _file(tmp_path / "new", 60 * SIZE)
        (tmp_path / "new").replace(tmp_path / "f")
        assert first + b"".join(reading) == data
