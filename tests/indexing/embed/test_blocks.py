"""Memory of a worker's batches: used again when the loop is done with a batch, and never before."""

from __future__ import annotations

from diantu.indexing.embed.blocks import Blocks


def test_a_block_is_used_again_once_its_batch_is_done() -> None:
    blocks = Blocks()
    first, second = blocks.take(0, 100), blocks.take(2, 100)
    assert first.data_ptr() != second.data_ptr()
    assert first.is_shared()
    blocks.release(0)
    third = blocks.take(4, 100)
    assert third.data_ptr() not in (first.data_ptr(), second.data_ptr())
    blocks.release(2)  # batches 0 and 1 are done; 2 is not
    assert blocks.take(6, 80).data_ptr() == first.data_ptr()
    assert blocks.take(8, 80).data_ptr() not in (first.data_ptr(), second.data_ptr(), third.data_ptr())


def test_a_block_that_is_too_small_is_left_for_a_larger_one() -> None:
    blocks = Blocks()
    small = blocks.take(0, 10)
    blocks.release(1)
    assert blocks.take(1, 1000).nbytes() >= 1000
    blocks.release(2)
    assert blocks.take(2, 1000).data_ptr() != small.data_ptr()
