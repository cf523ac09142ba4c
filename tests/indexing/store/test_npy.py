"""Headers of `.npy` files: what numpy writes is read, and no damaged one raises anything but `ValueError`."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from fuzzing import rounds

from diantu.indexing.store.npy import map_array, read_array


def saved(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float16).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
        np.arange(3, dtype=">i8"),
        np.zeros((0, 8), np.float16),
        np.zeros(0, np.int64),
        np.array(7, np.uint8),
    ],
)
def test_what_numpy_writes_is_read(tmp_path: Path, array: np.ndarray) -> None:
    data = saved(array)
    (tmp_path / "a.npy").write_bytes(data)
    for read in (read_array(io.BytesIO(data)), map_array(tmp_path / "a.npy")):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93NUMPY\x01",
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{",
        saved(np.array([{}, None], object)),
        saved(np.zeros(2, [("a", "f4")])),
        saved(np.zeros(3, np.float32))[:-1],
        saved(np.zeros(3, np.float32)) + b"\0",
        saved(np.zeros(3, np.float32)).replace(b"(3,)", b"(" + b"9" * 3 + b","),
        saved(np.zeros(3, np.float32)).replace(b"'<f4'", b"'<f5'"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"npy|bytes instead of"):
        read_array(io.BytesIO(data))
    with pytest.raises(ValueError, match=r"npy|bytes instead of"):
        map_array(tmp_path / "a.npy")


@pytest.mark.fuzz
def test_a_damaged_header_raises_only_value_errors() -> None:
    rng = random.Random(0)
    whole = saved(np.arange(8, dtype=np.float16).reshape(2, 4))
    for _ in range(rounds(300)):
        changed = bytearray(whole)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(128)] = rng.randrange(256)
        try:
            array = read_array(io.BytesIO(bytes(changed)))
        except ValueError:
            continue
        assert array.nbytes == 16
