"""The connection to a Ray cluster, or to a Ray that is started on this machine for one job."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator

import ray
from ray._private import ray_constants
from ray._private import worker as ray_worker

from ....datasets.errors import InputError, first_line

# No images go through Ray's shared memory, so it gets the least that Ray takes.
_OBJECT_STORE_BYTES = 80 << 20
_CONNECT_SECONDS = 10.0
# Names of sockets have at most 107 bytes, and Ray needs 65 of them below its folder.
_MOST_PATH_BYTES = 40
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PLACE = re.compile(r"(?:ray://)?(?P<host>[^\s/:@]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connects this process to Ray, and disconnects it again; a local Ray is started and ended.

    Args:
        address: `auto` (the cluster that this machine belongs to), `host:port` of a cluster that this machine belongs
            to, `ray://host:port` of any; None starts Ray on this machine, reachable from no other, unless this process
            is connected already.

    Raises:
        InputError: if there is no cluster, or it cannot be used.
    """
    if ray.is_initialized():
        if address is not None:
            raise InputError(f"this process is connected to Ray already; leave out the address {address!r}")
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.enter_context(_without_messages())
        folder = stack.enter_context(_folder()) if address is None else None
        stack.callback(ray.shutdown)
        with _own_handler():
            _connect(address) if address is not None else _start(folder)
        yield


def _start(folder: str | None) -> None:
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",  # or Ray would report to its makers
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # or Ray would write one into the user's home
    }
    with _on_loopback(), _environment(**settings):
        ray.init(
            "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=_OBJECT_STORE_BYTES,
            _temp_dir=folder,
        )


def _connect(address: str) -> None:
    place = _PLACE.fullmatch(address)
    if address != "auto" and not place:
        raise InputError(f"--address {address!r} cannot be used; give auto, host:port or ray://host:port")
    try:
        with contextlib.ExitStack() as stack:
            if place:
                host, port = place["host"].strip("[]"), int(place["port"])
                _knock(host, port)
                if host in _LOOPBACK and not address.startswith("ray://") and not _is_open(port):
                    stack.enter_context(_on_loopback())
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(
            f"no Ray cluster can be used at --address {address!r} ({first_line(error).rstrip('.')}); start one with "
            "ray start, or leave out --address"
        ) from error


def _knock(host: str, port: int) -> None:
    """Finds out soon that nobody is there; Ray tries for minutes."""
    socket.create_connection((host, port), _CONNECT_SECONDS).close()


def _is_open(port: int) -> bool:
    """Whether a cluster of this machine can be reached from others."""
    try:
        _knock(ray.util.get_node_ip_address(), port)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _on_loopback() -> Iterator[None]:
    """Makes Ray use 127.0.0.1, which it replaces by the machine's own address where others may join the cluster.

    A Ray of one job must not be reachable from other machines. The variable is for processes that Ray starts.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with _environment(**{ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Keeps the handler of SIGTERM, which Ray replaces by one that ends the process."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # elsewhere neither Ray nor we may set it
            signal.signal(signal.SIGTERM, handler)


@contextlib.contextmanager
def _without_messages() -> Iterator[None]:
    """Keeps Ray from printing about every process and node that dies: there is no option for it."""
    before = getattr(ray_worker, "_worker_logs_enabled", True)
    ray_worker._worker_logs_enabled = False
    try:
        yield
    finally:
        ray_worker._worker_logs_enabled = before


@contextlib.contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Sets variables for processes that Ray starts. Ray adds some of its own, which must not change the next start."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in {name for name in (*os.environ, *before) if name.startswith("RAY_")}:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextlib.contextmanager
def _folder() -> Iterator[str]:
    """A folder for Ray's sockets and logs. Its usual one, /tmp/ray, may belong to another user."""
    parent = tempfile.gettempdir()
    if len(os.fsencode(parent)) > _MOST_PATH_BYTES - 12:
        parent = "/tmp"
    folder = tempfile.mkdtemp(prefix="ray", dir=parent)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
