"""The bytes of a file from front to back, decompressed where its first bytes say that it is compressed."""

from __future__ import annotations

import bz2
import lzma
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol

import pyarrow as pa

from ..errors import first_line
from ..places import is_local, resolve

_CHUNK = 1 << 20
# Little, because what a decompressor has made of a piece is lost if the piece turns out to be damaged.
_COMPRESSED_CHUNK = 1 << 14
# An xz file says how much memory it needs; `xz -9` needs 65 MiB.
_XZ_MEMORY = 256 << 20
# A file whose contents grow beyond the first bound and the second ratio is taken for a decompression bomb.
MAX_UNPACKED_BYTES = 64 << 30
MAX_RATIO = 100


class Readable(Protocol):
    """What a `Source` reads from."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        ...


class Source:
    """Bytes from front to back, with the position in them.

    Attributes:
        position: the number of bytes that were read or skipped.
        size: the number of all bytes; None if it is not known.
    """

    def __init__(self, file: Readable, *, size: int | None, can_seek: bool, why: str = "") -> None:
        self.position = 0
        self.size = size
        self._why = why
        self._file = file
        self._can_seek = can_seek
        self._ahead = b""

    @property
    def error(self) -> str:
        """Why the bytes end; empty if that is their end, or if the reason is not known yet."""
        return getattr(self._file, "error", "") or self._why

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer only at the end."""
        pieces = [self._ahead[:size] if self._ahead or not size else self._file.read(min(size, _CHUNK))]
        self._ahead = self._ahead[size:]
        missing = size - len(pieces[0])
        while missing and (piece := self._file.read(min(missing, _CHUNK))):
            pieces.append(piece)
            missing -= len(piece)
        data = b"".join(pieces)
        self.position += len(data)
        return data

    def unread(self, data: bytes) -> None:
        """Takes back the bytes that were read last."""
        self._ahead = data + self._ahead
        self.position -= len(data)

    def skip(self, size: int) -> int:
        """Skips bytes, and returns how many there were."""
        start = self.position
        if self._can_seek and self.size is not None and size > len(self._ahead):
            self.position = min(start + size, self.size)
            self._ahead = b""
            self._file.seek(self.position)  # type: ignore[attr-defined]
            return self.position - start
        while size > self.position - start and self.read(min(size - (self.position - start), _CHUNK)):
            pass
        return self.position - start

    def skip_zeros(self, block: int) -> None:
        """Skips whole blocks of zeros."""
        while chunk := self.read(_CHUNK):
            rest = chunk.lstrip(b"\0")
            if rest or len(chunk) < _CHUNK:
                begin = (len(chunk) - len(rest)) // block * block
                self.unread(chunk[begin:])
                return


class OpenedFile:
    """A file that can be read several times from its beginning.

    A remote file is copied once into a temporary file without a name, which needs as much room as the file has bytes.
    The file is closed when the object is no longer used.

    Attributes:
        is_local: whether the file is this machine's own.
        codec: the name of the compression, by the file's first bytes; None if it is not compressed.

    Raises:
        OSError: if the file cannot be read, or the disk has no room for the copy.
    """

    def __init__(self, uri: str) -> None:
        filesystem, path = resolve(uri)
        self.is_local = is_local(filesystem)
        self._file: IO[bytes] = open(path, "rb") if self.is_local else _copied(filesystem, path)  # noqa: SIM115
        self._close = weakref.finalize(self, self._file.close)
        beginning = self._file.read(_MAGIC_BYTES)
        self.codec = next((name for name, (magic, _) in _CODECS.items() if beginning.startswith(magic)), None)

    def source(self, *, size: int | None = None, why: str = "") -> Source:
        """The uncompressed bytes from the beginning on; the file serves one source at a time.

        Args:
            size: the number of uncompressed bytes, if it is known from an earlier pass.
            why: why there are no more, if that is known from an earlier pass.
        """
        size_of_file = self._file.seek(0, 2)
        self._file.seek(0)
        if self.codec is None:
            return Source(self._file, size=size_of_file, can_seek=True)
        magic, new = _CODECS[self.codec]
        return Source(_Unpacked(self._file, magic, new), size=size, can_seek=False, why=why)

    def close(self) -> None:
        """Closes the file."""
        self._close()


def _copied(filesystem: Any, path: str) -> IO[bytes]:
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with filesystem.open(path, "rb") as file:
            shutil.copyfileobj(file, copy, _CHUNK)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


class _Unpacked:
    """The bytes of a compressed file; of one with several members, those of all of them.

    Attributes:
        error: why the bytes end too early; empty if they do not.
    """

    def __init__(self, file: IO[bytes], magic: tuple[bytes, ...], new: Callable[[IO[bytes]], Any]) -> None:
        self.error = ""
        self._file = file
        self._magic = magic
        self._new = new
        self._member: Any = None
        self._input = b""
        self._num_members = 0
        self._num_bytes = 0

    def read(self, size: int, /) -> bytes:
        """Some of the next bytes, at most `size`; none at the end or at an error."""
        while not self.error:
            member = self._member or self._begin_member()
            if member is None:
                return b""
            if not self._input and member.needs_input:
                self._input = self._file.read(_COMPRESSED_CHUNK)
                if not self._input:
                    self.error = "they end too early"
                    return b""
            try:
                data = member.decompress(self._input, size)
            except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
                if getattr(error, "errno", None):
                    raise
                self.error = first_line(error)
                return b""
            self._input = b""
            if member.eof:
                self._input, self._member = member.unused_data, None
            self._count(len(data))
            if data:
                return data
        return b""

    def _begin_member(self) -> Any:
        """Begins the next member; None at the end. Members may be followed by zeros."""
        while True:
            if len(self._input) < _MAGIC_BYTES:
                self._input += self._file.read(_COMPRESSED_CHUNK)
            if self._num_members:
                self._input = self._input.lstrip(b"\0")
            if len(self._input) >= _MAGIC_BYTES or not (more := self._file.read(_COMPRESSED_CHUNK)):
                break
            self._input += more
        if not self._input:
            return None
        if not self._input.startswith(self._magic):
            start = self._file.tell() - len(self._input)
            num_bytes = self._file.seek(0, 2) - start
            self.error = f"{num_bytes} bytes from byte {start} of the file on are not compressed as those before them"
            return None
        self._member = self._new(self._file)
        self._num_members += 1
        return self._member

    def _count(self, num_bytes: int) -> None:
        self._num_bytes += num_bytes
        if self._num_bytes > max(MAX_UNPACKED_BYTES, MAX_RATIO * self._file.tell()):
            self.error = f"they expand to more than {MAX_UNPACKED_BYTES >> 30} GiB and {MAX_RATIO} times their size"


class Deflated:
    """Deflated data, with the methods of Python's other decompressors."""

    def __init__(self, *, wbits: int) -> None:
        self._engine = zlib.decompressobj(wbits=wbits)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        """Whether the end of the data was reached."""
        return self._engine.eof

    @property
    def unused_data(self) -> bytes:
        """What was given behind the end."""
        return self._engine.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Decompresses at most `max_length` bytes; keeps the rest of the data."""
        out = self._engine.decompress(self._engine.unconsumed_tail + data, max_length)
        self.needs_input = len(out) < max_length
        return out


class _Borrowed:
    """A file for Arrow, which would close it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def close(self) -> None:
        """Leaves the file open."""


class _Zstandard:
    """All frames of a zstd file, through Arrow, which reads the file itself.

    Arrow loses what it has decompressed in the call that fails, so it is asked for little at a time.
    """

    needs_input = False
    unused_data = b""
    _BLOCK = 512

    def __init__(self, file: IO[bytes]) -> None:
        file.seek(0)
        self.eof = False
        self._stream = pa.CompressedInputStream(pa.PythonFile(_Borrowed(file), mode="r"), "zstd")

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out = self._stream.read(min(max_length, self._BLOCK))
        self.eof = not out
        return out


# The frames of parallel compressors (pzstd) begin with one that is to be skipped (RFC 8878, 3.1.2).
_SKIPPABLE = tuple(bytes([first]) + b"\x2a\x4d\x18" for first in range(0x50, 0x60))
_CODECS: dict[str, tuple[tuple[bytes, ...], Callable[[IO[bytes]], Any]]] = {
    "gzip": ((b"\x1f\x8b",), lambda file: Deflated(wbits=16 + zlib.MAX_WBITS)),
    "bzip2": ((b"BZh",), lambda file: bz2.BZ2Decompressor()),
    "xz": ((b"\xfd7zXZ\0",), lambda file: lzma.LZMADecompressor(memlimit=_XZ_MEMORY)),
    "zstd": ((b"\x28\xb5\x2f\xfd", *_SKIPPABLE), _Zstandard),
}
_MAGIC_BYTES = 6
