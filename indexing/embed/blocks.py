"""Memory of a worker for the pixels of its batches, which the job's own process gets without a copy."""

from __future__ import annotations

import torch


class Blocks:
    """Shared memory that is used again as soon as the batch that it was taken for is no longer needed.

    The kernel zeroes new memory, and maps it page by page: that would be a tenth of what a worker takes for an image.
    A worker has as many blocks as batches of it can be on their way.
    """

    def __init__(self) -> None:
        self._taken: list[tuple[int, torch.UntypedStorage]] = []  # with the numbers of batches, ascending
        self._free: list[torch.UntypedStorage] = []

    def release(self, num_done: int) -> None:
        """Frees the blocks of the batches whose numbers are less."""
        self._free += [block for number, block in self._taken if number < num_done]
        self._taken = [(number, block) for number, block in self._taken if number >= num_done]

    def take(self, number: int, num_bytes: int) -> torch.UntypedStorage:
        """A block of at least so many bytes for the batch of a number; its contents are what was left there."""
        block = self._free.pop() if self._free else None
        if block is None or block.nbytes() < num_bytes:
            block = torch.UntypedStorage._new_shared(num_bytes)
        self._taken.append((number, block))
        return block
