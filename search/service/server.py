"""Runs a service: binds its socket, serves, and ends after SIGTERM when what runs is finished."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

import uvicorn

from ...datasets import InputError
from ...indexing.encoders import ImageEncoder
from .app import create_app
from .connections import Connection
from .settings import Settings


class Server:
    """A service whose socket is bound.

    Attributes:
        url: its address, for a browser on this machine.
    """

    def __init__(
        self,
        settings: Settings,
        encoders: Mapping[str, ImageEncoder] | None = None,
        *,
        on_start: Callable[[str], None] = lambda url: None,
    ) -> None:
        """Opens the galleries and binds the socket.

        Args:
            settings: what is served, and the limits.
            encoders: encoders that are loaded already, by the names of galleries.
            on_start: is called with the service's URL when it answers.

        Raises:
            InputError: if a gallery cannot be opened, or the address cannot be bound.
        """
        app = create_app(settings, encoders)
        self._socket = _bound(settings)
        self.url = _url(settings.host, self._socket.getsockname()[1])
        config = uvicorn.Config(
            app, http=Connection, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
            timeout_graceful_shutdown=int(settings.deadline) + 1,
        )  # fmt: skip
        self._server = _Announced(config, lambda: on_start(self.url))

    def run(self) -> None:
        """Serves until SIGTERM, Ctrl-C or `stop`, then finishes the requests that run.

        After a signal, the handler that was there before is called, too.
        """
        with self._socket:
            self._server.run(sockets=[self._socket])

    def close(self) -> None:
        """Gives the socket back, where `run` is not called."""
        self._socket.close()

    def stop(self) -> None:
        """Ends `run` in another thread."""
        self._server.should_exit = True


class _Announced(uvicorn.Server):
    """uvicorn's server, which says when it answers."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host.strip("[]"), settings.port), family=family, backlog=2048)
    except OSError as error:
        raise InputError(
            f"{settings.host}:{settings.port} cannot be bound ({error.strerror or error}); "
            "give another --host or --port"
        ) from error


def _url(host: str, port: int) -> str:
    """The address for a browser on this machine."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"
