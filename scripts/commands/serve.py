"""`diantu serve`."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
from typing import TYPE_CHECKING

from ...datasets.errors import InputError

if TYPE_CHECKING:
    from ...search.service.server import Server

log = logging.getLogger(__name__)

_PACKAGES = ("fastapi", "uvicorn", "httptools", "python_multipart", "prometheus_client")


def run(
    gallery: list[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    token_file: str | None = None,
    no_token: bool = False,
    cors: list[str] = [],  # noqa: B006 - read, never changed
    allow_urls: bool = False,
    threads: int = 16,
    queue: int = 64,
    deadline: float = 30.0,
    max_body: float = 32.0,
    max_k: int = 1000,
    encoder: list[str] = [],  # noqa: B006
    device: str = "auto",
    runtime: str = "auto",
) -> int:
    """Serves galleries over HTTP: a page for people at /, JSON for programs, and clip-retrieval's routes.

    Args:
        gallery: the galleries' folders, each with a name if wanted: cats=/data/cats; requests that name none go to the
            first.
        host: the address to bind to; one that other machines can reach needs --token-file or --no-token.
        port: the port to bind to; 0 takes a free one.
        token_file: a file with the token that requests must have, as Authorization: Bearer <token>.
        no_token: allow everybody who reaches the address to search.
        cors: origins whose pages may call the service, for example https://example.org.
        allow_urls: download the images that requests name by URL, from public addresses only.
        threads: requests that are answered at a time.
        queue: requests that may wait; more are refused with 429.
        deadline: seconds that a request may take; then it is answered with 504.
        max_body: megabytes that the body of a request may have.
        max_k: the most hits of one answer.
        encoder: other names for encoders whose weights have moved since the gallery was made; with several galleries,
            name=encoder.
        device: where the encoders run: auto, cpu, cuda or cuda:<number>.
        runtime: what computes the vectors of images: torch, compiled, onnxruntime, openvino, tensorrt, or auto: torch,
            unless diantu bench-encoder has measured that another one is faster here.
    """
    require_packages()
    from ...indexing.encoders import as_runtime
    from ...search.service.server import Server
    from ...search.service.settings import Settings, read_encoders, read_galleries, read_token

    galleries = read_galleries(gallery)
    settings = Settings(
        galleries=galleries, encoders=read_encoders(encoder, galleries), host=host, port=port,
        token=None if token_file is None else read_token(token_file), cors=tuple(cors), allow_urls=allow_urls,
        threads=threads, queue=queue, deadline=deadline, max_body=int(max_body * (1 << 20)), max_k=max_k, device=device,
        runtime=as_runtime(runtime),
    )  # fmt: skip
    if not settings.is_local and settings.token is None and not no_token:
        raise InputError(
            f"other machines can reach {host}; give --token-file FILE, or --no-token to let everybody search"
        )
    run_until_stopped(Server(settings, on_start=announce))
    return 0


def run_until_stopped(server: Server) -> None:
    """Serves until SIGTERM or Ctrl-C, which are the ways to end a service."""
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    log.info("stopped")


def announce(url: str) -> None:
    """Says where the service answers."""
    print(f"page     {url}", flush=True)


def require_packages() -> None:
    """Checks that the packages of the extra `serve` are installed.

    Raises:
        InputError: if one is missing.
    """
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the service needs {', '.join(missing)}, which is not installed; run: pip install 'diantu[serve]'"
        )
