"""Lets system calls of a process fail, or kills it at one of them, in Python code and in C++ libraries alike.

The process installs a seccomp filter over the calls that touch files (`install`). For each of them the kernel stops the
process and asks the other side (`Watch`), which lets the call pass, answers with an error in its place, performs only
the first half of a write, or kills the process. Threads and child processes inherit the filter. Linux on x86-64, kernel
5.8 or later; see seccomp_unotify(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# Call → its number, and which argument names the file: a descriptor, a path, or a folder's descriptor and a path.
_DESCRIPTOR, _PATH, _PATH_AT = "descriptor", "path", "path at"
_CALLS = {
    "read": (0, _DESCRIPTOR, 0), "write": (1, _DESCRIPTOR, 0), "open": (2, _PATH, 0), "close": (3, _DESCRIPTOR, 0),
    "stat": (4, _PATH, 0), "lstat": (6, _PATH, 0), "mmap": (9, _DESCRIPTOR, 4), "pread64": (17, _DESCRIPTOR, 0),
    "pwrite64": (18, _DESCRIPTOR, 0), "readv": (19, _DESCRIPTOR, 0), "writev": (20, _DESCRIPTOR, 0),
    "sendfile": (40, _DESCRIPTOR, 0), "flock": (73, _DESCRIPTOR, 0), "fsync": (74, _DESCRIPTOR, 0),
    "fdatasync": (75, _DESCRIPTOR, 0), "ftruncate": (77, _DESCRIPTOR, 0), "rename": (82, _PATH, 1),
    "mkdir": (83, _PATH, 0), "rmdir": (84, _PATH, 0), "link": (86, _PATH, 1), "unlink": (87, _PATH, 0),
    "symlink": (88, _PATH, 1), "getdents64": (217, _DESCRIPTOR, 0), "openat": (257, _PATH_AT, 0),
    "newfstatat": (262, _PATH_AT, 0), "mkdirat": (258, _PATH_AT, 0), "unlinkat": (263, _PATH_AT, 0),
    "renameat": (264, _PATH_AT, 2), "linkat": (265, _PATH_AT, 2), "symlinkat": (266, _PATH_AT, 1),
    "fallocate": (285, _DESCRIPTOR, 0), "renameat2": (316, _PATH_AT, 2), "copy_file_range": (326, _DESCRIPTOR, 2),
    "statx": (332, _PATH_AT, 0),
}  # fmt: skip
_BY_NUMBER = {number: (name, kind, position) for name, (number, kind, position) in _CALLS.items()}
_CREATES = os.O_CREAT | os.O_WRONLY | os.O_RDWR
# What changes a file system: on a full or a read-only disk all of it fails.
CHANGES = frozenset({
    "write", "pwrite64", "writev", "create", "rename", "mkdir", "link", "symlink", "fsync", "ftruncate", "fallocate",
    "sendfile", "copy_file_range",
})  # fmt: skip
Effect = Literal["fail", "short", "kill", "terminate"]

_SYS_SECCOMP, _SET_FILTER, _NEW_LISTENER, _NO_NEW_PRIVS = 317, 1, 8, 38
_ARCH_X86_64, _ASK, _PASS = 0xC000003E, 0x7FC00000, 0x7FFF0000
_ASKED = struct.Struct("=QII iIQ6Q")  # id, pid, flags; number, architecture, instruction, arguments
_ANSWER = struct.Struct("=QqiI")  # id, value, error, flags
_GO_ON = 1
_RECEIVE = 3 << 30 | _ASKED.size << 16 | ord("!") << 8 | 0
_SEND = 3 << 30 | _ANSWER.size << 16 | ord("!") << 8 | 1
_LONGEST_PATH = 4096


def why_not() -> str | None:
    """Why calls cannot be intercepted on this machine; None if they can."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "system calls are intercepted on Linux on x86-64 only"
    pid = os.fork()
    if not pid:
        try:
            _listener()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"this machine does not allow seccomp filters ({os.strerror(code)})" if code else None


def install(address: str) -> None:
    """Lets the `Watch` at an address decide about this process's calls from now on. It cannot be undone."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        listener = _listener()
        socket.send_fds(connection, [b"x"], [listener])  # neither call is one that the filter holds back
    os.close(listener)


def _listener() -> int:
    """Installs the filter, and returns the descriptor from which its questions can be read."""
    numbers = sorted(_BY_NUMBER)
    load, equal, go = 0x20, 0x15, 0x06
    program = [(load, 0, 0, 4), (equal, 1, 0, _ARCH_X86_64), (go, 0, 0, _PASS), (load, 0, 0, 0)]
    # Memory that belongs to no file is requested all the time.
    mmap = _CALLS["mmap"][0]
    program += [(equal, 0, 4, mmap), (load, 0, 0, 16 + 8 * 4), (equal, 0, 1, 0xFFFFFFFF), (go, 0, 0, _PASS)]
    program += [(go, 0, 0, _ASK)]
    for i, number in enumerate(numbers):
        program.append((equal, len(numbers) - i, 0, number))
    program += [(go, 0, 0, _PASS), (go, 0, 0, _ASK)]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    listener = libc.syscall(_SYS_SECCOMP, _SET_FILTER, _NEW_LISTENER, header)
    if listener < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return listener


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens at the `nth` call (from 0) of the given kinds.

    Attributes:
        calls: kinds of calls, as `Watch.counts` has them.
        nth: which of them.
        effect: fail with `error`; perform half of a write; kill (SIGKILL) or terminate (SIGTERM) the process.
        error: the error's number.
        lasts: whether all such calls from then on fail, as on a full disk.
    """

    calls: frozenset[str]
    nth: int
    effect: Effect
    error: int = 0
    lasts: bool = False

    def __str__(self) -> str:
        what = errno.errorcode[self.error] if self.effect == "fail" else self.effect
        return f"{what}{' from' if self.lasts else ' at'} {'/'.join(sorted(self.calls))} #{self.nth}"


class Watch:
    """Counts the calls of a process that concern files in a folder, and lets a fault happen at one of them.

    Attributes:
        counts: the calls so far by kind. An `openat` that may write is a `create`, one that reads an `open`; the
            variants of a call (`renameat`, `unlinkat` …) count as the call.
        struck: the call and the file that the fault has met, or None.
    """

    def __init__(self, folder: Path, address: Path, fault: Fault | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.struck: str | None = None
        self.address = str(address)
        self._folder = str(folder)
        self._fault = fault
        self._num_met = 0
        self._threads: dict[int, int] = {}  # thread → its process
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._socket = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.address)
        self._socket.bind(self.address)
        self._socket.listen(1)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Returns when the process and all its children have ended."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # no longer waits for a process that was killed before it called
        self._thread.join()
        self._socket.close()
        os.unlink(self.address)

    def send_signal(self, signum: int) -> None:
        """Sends a signal to the process and its children."""
        for process in set(self._threads.values()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signum)

    def _serve(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return
        with connection:
            (listener,) = socket.recv_fds(connection, 1, 1)[1]
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        question = bytearray(_ASKED.size)
        while not waiting.poll()[0][1] & select.POLLHUP:
            question[:] = bytes(_ASKED.size)
            try:
                fcntl.ioctl(listener, _RECEIVE, question)
            except OSError:  # the process was killed in the meantime
                continue
            identity, thread, _, number, _, _, *arguments = _ASKED.unpack(question)
            try:
                value, error = self._decide(thread, number, arguments)
            except OSError:  # it was killed while its memory was read
                value, error = None, 0
            flags = _GO_ON if value is None and not error else 0
            with contextlib.suppress(OSError):
                fcntl.ioctl(listener, _SEND, _ANSWER.pack(identity, value or 0, -error, flags))
        os.close(listener)

    def _decide(self, thread: int, number: int, arguments: list[int]) -> tuple[int | None, int]:
        """The value that the call returns instead (None: let it pass) and the error with which it fails."""
        name, kind, position = _BY_NUMBER[number]
        path = _named_file(thread, kind, arguments[position:])
        if thread not in self._threads:
            self._threads[thread] = _process_of(thread)
        if not path.startswith(self._folder):
            return None, 0
        call = _kind(name, arguments)
        self.counts[call] += 1
        fault = self._fault
        if fault is None or call not in fault.calls:
            return None, 0
        self._num_met += 1
        if self._num_met <= fault.nth or (self.struck and not fault.lasts):
            return None, 0
        if fault.effect == "short" and arguments[2] < 2:  # one byte has no half: the next write has
            return None, 0
        self.struck = self.struck or f"{call} {path}"
        if fault.effect in ("kill", "terminate"):
            self.send_signal(signal.SIGKILL if fault.effect == "kill" else signal.SIGTERM)
            return None, 0
        if fault.effect == "short":
            return _write_half(thread, *arguments[:3]), 0
        return None, fault.error


def _kind(name: str, arguments: list[int]) -> str:
    if name in ("open", "openat"):
        return "create" if arguments[1 if name == "open" else 2] & _CREATES else "open"
    if name in ("stat", "lstat", "newfstatat", "statx"):
        return "stat"
    plain = name.removesuffix("2").removesuffix("at")
    return plain if plain in _CALLS else name


def _named_file(thread: int, kind: str, arguments: list[int]) -> str:
    if kind == _DESCRIPTOR:
        return _link(f"/proc/{thread}/fd/{_signed(arguments[0])}")
    folder, address = (-100, arguments[0]) if kind == _PATH else (_signed(arguments[0]), arguments[1])
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        path = os.fsdecode(os.pread(memory.fileno(), _LONGEST_PATH, address).partition(b"\0")[0])
    if path.startswith(("/dev/fd/", "/proc/self/fd/")):
        return _link(f"/proc/{thread}/fd/{path.rpartition('/')[2]}")
    if path.startswith("/"):
        return os.path.normpath(path)
    base = _link(f"/proc/{thread}/cwd" if folder == -100 else f"/proc/{thread}/fd/{folder}")
    return os.path.normpath(os.path.join(base, path))


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except FileNotFoundError:  # a descriptor that is not open
        return ""


def _signed(argument: int) -> int:
    return ctypes.c_int32(argument & 0xFFFFFFFF).value


def _process_of(thread: int) -> int:
    with open(f"/proc/{thread}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Tgid:"))


def _write_half(thread: int, descriptor: int, address: int, size: int) -> int:
    """Writes the first half of what a process wants to write, through its own open file."""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        data = os.pread(memory.fileno(), size // 2, address)
    process = os.pidfd_open(_process_of(thread))
    libc = ctypes.CDLL(None, use_errno=True)
    file = libc.syscall(438, process, _signed(descriptor), 0)  # pidfd_getfd
    try:
        return os.write(file, data)
    finally:
        os.close(file)
        os.close(process)


@contextlib.contextmanager
def watched(folder: Path, address: Path, fault: Fault | None = None) -> Iterator[Watch]:
    """Watches one process, which must call `install(watch.address)`; at the end that process has ended."""
    with Watch(folder, address, fault) as watch:
        yield watch
