"""Rare formats are decoded in a process of their own, which may hang or crash at the cost of one image."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import encoded, picture

from diantu.datasets import Reason, SampleError, decode
from diantu.datasets.decoding import decode_guarded, isolated


def test_the_pixels_are_those_of_this_process() -> None:
    for name in ("TIFF", "JPEG2000", "JPEG"):
        data = encoded(picture(), name)
        np.testing.assert_array_equal(decode_guarded(data).rgb_HWC, decode(data))
    with pytest.raises(SampleError, match="begin like TIFF") as caught:
        decode_guarded(b"II*\0 and nothing more")
    assert caught.value.reason == Reason.UNDECODABLE


def test_an_image_that_takes_too_long_is_stopped_and_the_next_one_decoded() -> None:
    plain = b"P3 900 900 255\n" + b"1 2 3\n" * 810_000  # a text, which Pillow reads slowly
    with pytest.raises(SampleError, match=r"longer than 0\.05 s") as caught:
        decode_guarded(plain, seconds=0.05)
    assert caught.value.reason == Reason.TOO_LARGE
    assert decode_guarded(encoded(picture(), "TIFF")).rgb_HWC.shape == (30, 40, 3)


def test_a_crash_costs_one_image() -> None:
    decode_guarded(encoded(picture(), "TIFF"))
    child = isolated._idle.get_nowait()
    child._process.kill()  # as a decoder does that writes where it must not
    isolated._idle.put(child)
    with pytest.raises(SampleError, match="crashed") as caught:
        decode_guarded(encoded(picture(), "TIFF"))
    assert caught.value.reason == Reason.UNDECODABLE
    assert decode_guarded(encoded(picture(), "TIFF")).rgb_HWC.shape == (30, 40, 3)


def test_a_file_that_leaves_no_memory_for_its_pixels_is_refused_in_words() -> None:
    data = bytearray((1 << 30) + 1)  # of zeros, which take no memory here before they are written
    data[:2] = b"BM"
    with pytest.raises(SampleError, match="decoding takes more memory than one image may have") as refused:
        decode_guarded(data)  # type: ignore[arg-type]
    assert refused.value.reason is Reason.TOO_LARGE
    assert decode_guarded(encoded(picture(), "TIFF")).rgb_HWC.shape == (30, 40, 3)
