"""The process that parses and evaluates the conditions that are not known to be cheap.

It is started by `children`, reads requests from standard input and answers on standard output. It ends when its input
ends, when a request takes longer than it may (where the system has timers for processes), or when it is killed.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import IO, TYPE_CHECKING, Any

from .messages import NoConditionError
from .session import locked_duckdb
from .syntax import parse

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# DuckDB's own limit, below that of the process, so that it can say what happened.
_MEMORY = "700MB"
# Private memory of the process, which Linux limits. With the libraries that it maps, it stays below 1 GB.
_PROCESS_BYTES = 850_000_000
_LENGTHS = struct.Struct(">II")


def write_message(file: IO[bytes], header: dict[str, Any], payload: bytes | memoryview = b"") -> None:
    """Writes a header of JSON values, and bytes."""
    encoded = json.dumps(header).encode()
    file.write(_LENGTHS.pack(len(encoded), len(payload)))
    file.write(encoded)
    file.write(payload)
    file.flush()


def read_message(file: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Reads what `write_message` wrote.

    Raises:
        EOFError: if the other side has ended.
    """
    header, payload = (_read(file, length) for length in _LENGTHS.unpack(_read(file, _LENGTHS.size)))
    return json.loads(header), payload


def _read(file: IO[bytes], length: int) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise EOFError
    return data


def serve() -> None:
    """Answers requests until the input ends."""
    import signal

    import pyarrow  # noqa: F401 - before the memory is limited

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    connection = locked_duckdb(memory=_MEMORY, num_threads=1)
    parse(connection, "true")
    _limit_memory()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    write_message(answers, {"ready": True})
    while True:
        try:
            header, payload = read_message(requests)
        except EOFError:
            return
        # Should the process that asks be killed, no evaluation goes on without it.
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, header["seconds"] + 5)
        answer, data = _answer(connection, header, payload)
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
        write_message(answers, answer, data)


def _limit_memory() -> None:
    """Where the system has such a limit: Linux counts private memory, other systems less or nothing."""
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _PROCESS_BYTES if most == resource.RLIM_INFINITY else min(_PROCESS_BYTES, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _answer(connection: DuckDBPyConnection, header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
    import duckdb

    try:
        if header["do"] == "parse":
            syntax = parse(connection, header["where"])
            return {"names": syntax.names, "is_cheap": syntax.is_cheap}, b""
        return {}, _evaluated(connection, header["expression"], payload, is_included=header["missing"] == "include")
    except NoConditionError as error:
        return {"refused": str(error)}, b""
    except (MemoryError, duckdb.OutOfMemoryException):
        return {"too_large": True}, b""
    except duckdb.Error as error:
        return {"refused": str(error)[:1000].partition("\n")[0]}, b""


def _evaluated(connection: DuckDBPyConnection, expression: str, payload: bytes, *, is_included: bool) -> bytes:
    """The bits of the rows for which an expression is true, or unknown where these are included."""
    import numpy as np
    import pyarrow as pa

    with pa.ipc.open_stream(payload) as stream:
        table = stream.read_all()
    chosen = connection.from_arrow(table).project(f"{expression} AS chosen").fetchnumpy()["chosen"]
    return np.packbits(np.ma.filled(chosen, is_included)).tobytes()
