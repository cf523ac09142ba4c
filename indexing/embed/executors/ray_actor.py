"""What runs on the nodes of a Ray cluster. Nothing here imports Ray: the driver makes an actor of this class."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ....datasets.errors import InputError
from ..forks import ignore_gone_readers
from .messages import Failed, Look, NoMore, Ready, RoundOver, Seen, Stop
from .working import Abandoned, Work, do_work

_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where the driver is: its version, its current folder, and whether it imports modules from there."""

    version: str
    folder: str
    is_on_path: bool

    @classmethod
    def here(cls) -> Home:
        """That of this process."""
        return cls(version=version("diantu"), folder=os.getcwd(), is_on_path=bool({"", os.getcwd()} & set(sys.path)))

    def enter(self) -> None:
        """Makes relative names of models mean what they mean for the driver, if this node has the folder.

        Ray puts the driver's current folder first into the module path, where a folder `datasets` would hide the
        package of that name.

        Raises:
            InputError: if this node has another version of diantu.
        """
        if version("diantu") != self.version:
            raise InputError(f"it has diantu {version('diantu')}, the job has {self.version}")
        with contextlib.suppress(OSError):
            os.chdir(self.folder)
        if not self.is_on_path:
            sys.path[:] = [entry for entry in sys.path if entry not in ("", self.folder)]


class Actor:
    """Works in a thread. Ray calls the methods in two others, so that messages arrive while the thread works."""

    def __init__(self, work: Work, home: Home) -> None:
        home.enter()
        ignore_gone_readers()
        self._channel = _Channel()
        self._lock = threading.Lock()
        self._told: dict[int, Sequence[object]] = {}
        self._num_told = 0
        threading.Thread(target=do_work, args=(work, self._channel), daemon=True).start()

    def tell(self, number: int, messages: Sequence[object]) -> None:
        """Takes messages of the driver. Calls are numbered, because Ray runs them in any order."""
        with self._lock:
            self._told[number] = messages
            while self._num_told in self._told:
                for message in self._told.pop(self._num_told):
                    self._channel.put(message)
                self._num_told += 1

    def listen(self) -> list[object]:
        """Waits until there is something to tell the driver, and returns all there is."""
        return self._channel.take()


class _Channel:
    """Both directions between the driver and the thread that works."""

    def __init__(self) -> None:
        self._inbox: SimpleQueue[Any] = SimpleQueue()
        self._outbox: SimpleQueue[object] = SimpleQueue()
        self._is_stopped = False

    def put(self, message: object) -> None:
        """What the driver says."""
        if isinstance(message, Look):
            self._outbox.put(Seen(look=message, missing=_missing(message)))
        elif isinstance(message, Stop):
            self._is_stopped = True
            self._inbox.put(NoMore())  # in case that the thread waits for a job
        else:
            self._is_stopped = self._is_stopped and not isinstance(message, Path)  # another round begins
            self._inbox.put(message)

    def take(self) -> list[object]:
        """What the driver is to hear."""
        messages = [self._outbox.get()]
        with contextlib.suppress(Empty):
            while True:
                messages.append(self._outbox.get_nowait())
        return messages

    def recv(self) -> Any:
        """See `Channel`."""
        return self._inbox.get()

    def send(self, obj: Any, /) -> None:
        """See `Channel`."""
        if self._is_stopped and not isinstance(obj, Ready | RoundOver | Failed):
            raise Abandoned
        self._outbox.put(obj)


def _missing(look: Look) -> str | None:
    """The first of the driver's files that this node does not see."""
    deadline = time.monotonic() + look.patience
    while missing := next((path for path in look.paths if not os.path.exists(path)), None):
        if time.monotonic() > deadline:
            return missing
        time.sleep(_POLL_SECONDS)
    return None
