"""Checksums of a file in blocks, so that a block can be used as soon as it is compared, while further ones are read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO, Any

import xxhash

from ...datasets.checksums import DamagedError

# Small enough to stay in the CPU cache while it is compared and copied; the checksums of 1 GB are 8 kB of text.
_SIZE = 2 << 20
# Threads that read and compare, and blocks that they may be ahead: 10 MB of memory.
_READERS, _AHEAD = 2, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The checksums of a file's blocks.

    XXH3 notices damage as surely as SHA-256 at ten times its speed. It does not resist forgery, and neither does a
    SHA-256 that lies beside its file.

    Attributes:
        size: bytes of each block; the last one may have fewer.
        xxh3: the XXH3 of each block, 64 bits as 16 hex digits.
    """

    size: int
    xxh3: tuple[str, ...]

    @classmethod
    def of_open(cls, file: IO[bytes], *, size: int = _SIZE) -> Blocks:
        """The checksums of an open file."""
        starts = range(0, os.fstat(file.fileno()).st_size, size)
        return cls(size=size, xxh3=tuple(_digest(os.pread(file.fileno(), size, start)) for start in starts))

    def read(self, file: IO[bytes]) -> Iterator[bytes]:
        """The blocks of an open file in their order, each of them compared.

        Raises:
            DamagedError: instead of a block that has changed.
            OSError: if the file cannot be read.
        """
        waiting: deque[Future[bytes]] = deque()
        with ThreadPoolExecutor(_READERS) as pool:
            for number in range(len(self.xxh3)):
                waiting.append(pool.submit(self._block, file.fileno(), number))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _block(self, descriptor: int, number: int) -> bytes:
        block = os.pread(descriptor, self.size, number * self.size)
        if _digest(block) != self.xxh3[number]:
            raise DamagedError("has changed since it was written")
        return block

    def to_json(self) -> dict[str, Any]:
        """The values as `index.json` holds them: one text, because thousands of lines are no pleasure to read."""
        return {"size": self.size, "xxh3": " ".join(self.xxh3)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Blocks:
        """Inverse of `to_json`."""
        return cls(size=values["size"], xxh3=tuple(values["xxh3"].split()))


def _digest(block: bytes) -> str:
    return xxhash.xxh3_64_hexdigest(block)
