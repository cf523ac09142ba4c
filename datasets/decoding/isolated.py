"""Decoding in a process of its own, for formats whose decoders may crash, hang, or take more memory than they say.

JPEG, PNG, WebP and GIF are decoded where they are read: their cost is known before (see `limits`) and a process
for each would cost a tenth of the speed. All other formats go through a child process, which is kept for the next
image. If it does not answer in time it is killed; if it dies, that image is a failure and the job goes on.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import warnings
from typing import IO

import numpy as np
from PIL import Image

from ..errors import Reason, SampleError
from .formats import possible_formats
from .images import NO_MEMORY, Decoded, decode_with_notes

_TRUSTED = frozenset({"JPEG", "PNG", "WEBP", "GIF"})
SECONDS = 60.0  # that one image may take
_CHILD_BYTES = 1 << 30  # of memory that a child may write to, as far as the system can limit it
_NO_MEMORY_STATUS = 77  # of a child that could not even read its request
_REQUEST = struct.Struct("<qQ")  # Pillow's limit of pixels (−1 for none), bytes of the file
_ANSWER = struct.Struct("<Q")  # bytes of the JSON that follows; after it come the pixels

_idle: queue.LifoQueue[_Child] = queue.LifoQueue()


def _forget() -> None:
    """A forked process must not share the pipes of the children, so it starts its own."""
    global _idle
    _idle = queue.LifoQueue()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


def decode_guarded(data: bytes, *, seconds: float = SECONDS, at_least: int | None = None) -> Decoded:
    """Decodes as `decode_with_notes` does; formats other than the most common ones in a process of their own.

    Args:
        data: the encoded image.
        seconds: that a decoder in another process may take.
        at_least: as `decode_with_notes` has it.

    Raises:
        SampleError: as `decode`; too_large if it takes too long, undecodable if the decoder crashes.
    """
    if _TRUSTED.issuperset(possible_formats(data)):
        return decode_with_notes(data, at_least=at_least)
    try:
        child = _idle.get_nowait()
    except queue.Empty:
        child = _Child()
    answer = child.decode(data, seconds)
    _idle.put(child)
    if isinstance(answer, SampleError):
        raise answer
    return answer


class _Child:
    """A process that decodes one image after another. It ends with the process that started it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import _serve; _serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Threads of numpy's library would count as memory of the child. An interrupt reaches all processes of a
            # terminal; the parent decides when the child ends. Memory that one image has freed is not to count for the
            # next, so glibc gives back what is larger than the threshold.
            env={
                **os.environ,
                "OPENBLAS_NUM_THREADS": "1",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": _import_path(),
                "MALLOC_MMAP_THRESHOLD_": str(1 << 20),
            },
            start_new_session=True,
        )

    def decode(self, data: bytes, seconds: float) -> Decoded | SampleError:
        """The image, or why there is none. Raises SampleError if the child had to be ended or has died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(seconds, lambda: (late.set(), self._process.kill()))
        timer.start()
        try:
            limit = Image.MAX_IMAGE_PIXELS
            self._process.stdin.write(_REQUEST.pack(-1 if limit is None else limit, len(data)))
            self._process.stdin.write(data)
            self._process.stdin.flush()
            return _read_answer(self._process.stdout)
        except (EOFError, BrokenPipeError) as error:
            self._process.kill()
            code = self._process.wait()
            if late.is_set():
                detail = f"decoding took longer than {seconds:g} s, and was stopped"
                raise SampleError(Reason.TOO_LARGE, detail) from error
            if code == _NO_MEMORY_STATUS:
                raise SampleError(Reason.TOO_LARGE, NO_MEMORY) from error
            raise SampleError(Reason.UNDECODABLE, f"the decoder crashed (exit status {code})") from error
        finally:
            timer.cancel()


def _read_answer(pipe: IO[bytes]) -> Decoded | SampleError:
    (size,) = _ANSWER.unpack(_exactly(pipe, _ANSWER.size))
    said = json.loads(_exactly(pipe, size))
    if "reason" in said:
        return SampleError(Reason(said["reason"]), said["detail"])
    rgb_HWC = np.empty(said["shape"], np.uint8)
    view = rgb_HWC.data.cast("B")
    while len(view):
        if not (got := pipe.readinto(view)):  # type: ignore[attr-defined] - a buffered reader has it
            raise EOFError
        view = view[got:]
    return Decoded(rgb_HWC=rgb_HWC, notes=tuple(said["notes"]))


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _import_path() -> str:
    return os.pathsep.join(entry for entry in sys.path if entry)


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever sends it to all processes of a job; see `_Child`
    try:
        _answer_requests()
    except MemoryError:
        os._exit(_NO_MEMORY_STATUS)


def _answer_requests() -> None:
    """The child's loop, until its standard input ends."""
    warnings.simplefilter("ignore")  # failures are recorded
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    while len(head := requests.read(_REQUEST.size)) == _REQUEST.size:
        limit, size = _REQUEST.unpack(head)
        Image.MAX_IMAGE_PIXELS = None if limit < 0 else limit
        _limit_memory(limit)
        data = _exactly(requests, size)
        try:
            decoded = decode_with_notes(data)
            said, pixels = {"shape": decoded.rgb_HWC.shape, "notes": decoded.notes}, decoded.rgb_HWC.data
        except SampleError as error:
            said, pixels = {"reason": error.reason.value, "detail": error.detail}, b""
        text = json.dumps(said).encode()
        answers.write(_ANSWER.pack(len(text)) + text)
        answers.write(pixels)
        answers.flush()
        del data, pixels  # before the next image arrives


def _limit_memory(most_pixels: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = max(_CHILD_BYTES, 12 * most_pixels)  # more only for a user who allows larger images
        soft = hard if most_pixels < 0 else most if hard == resource.RLIM_INFINITY else min(hard, most)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
