"""What a service serves, and its limits."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...datasets import InputError
from ...indexing.encoders import Runtime

_NAME = re.compile(r"[\w.-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a service serves, and its limits.

    Attributes:
        galleries: the folders of the galleries by their names; requests that name none go to the first.
        encoders: for some galleries, the name to load the encoder by, where its weights are not found under the name
            in the gallery.
        host: the address to bind to.
        port: the port to bind to; 0 takes a free one.
        token: what every request must have as `Authorization: Bearer`; None asks for none.
        cors: the origins whose pages may call the service.
        allow_urls: whether images in requests may be http URLs, which the service then downloads.
        threads: requests that are answered at a time.
        queue: requests that may wait for a thread; more are refused with 429.
        deadline: seconds that a request may take, with the arrival of its body; then it is answered with 504.
        max_body: bytes that a request's body may have.
        max_k: the most hits of one answer.
        refresh_seconds: how often a gallery's folder is checked for changes.
        device: where encoders run: `auto`, `cpu`, `cuda` or `cuda:<number>`.
        runtime: what computes the vectors of images, see `load_encoder`.
    """

    galleries: Mapping[str, Path]
    encoders: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    cors: tuple[str, ...] = ()
    allow_urls: bool = False
    threads: int = 16
    queue: int = 64
    deadline: float = 30.0
    max_body: int = 32 << 20
    max_k: int = 1000
    refresh_seconds: float = 0.5
    device: str = "auto"
    runtime: Runtime = "auto"

    def __post_init__(self) -> None:
        if not self.galleries:
            raise InputError("there is no gallery to serve; give at least one: --gallery PATH")
        for name in self.galleries:
            if not _NAME.fullmatch(name):
                raise InputError(
                    f"{name!r} cannot name a gallery; give up to 64 letters, digits, dots, hyphens and underscores: "
                    "--gallery name=PATH"
                )
        for name, least in (("threads", 1), ("queue", 0), ("max_body", 1), ("max_k", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} is {getattr(self, name)}; give at least {least}")
        if not 0 <= self.port < 1 << 16:
            raise InputError(f"port is {self.port}; give 1 to 65535, or 0 for a free one")
        for name in ("deadline", "refresh_seconds"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name} is {getattr(self, name)}; give a number of seconds above 0")
        for origin in self.cors:
            if not re.fullmatch(r"https?://[^/\s]+", origin):
                raise InputError(
                    f"{origin!r} is not an origin; give the scheme and host of a page: https://example.org"
                )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine's loopback interface."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def read_galleries(given: list[str]) -> dict[str, Path]:
    """`[name=]PATH …` to folders by their names; the default name is that of the folder.

    Raises:
        InputError: if two galleries have one name.
    """
    found: dict[str, Path] = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not equals or "/" in name or os.sep in name:
            path = each
            name = re.sub(r"[^\w.-]+", "-", Path(path).resolve().name)[:64] or "gallery"
        if name in found:
            raise InputError(f"two galleries are called {name!r}; name one of them: --gallery other-name={path}")
        found[name] = Path(path)
    return found


def read_token(path: str) -> str:
    """The token in a file: its text without the space around it.

    Raises:
        InputError: if the file cannot be read, or has no token that a header can carry.
    """
    try:
        token = Path(path).read_text("utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"the token file {path} cannot be read ({error}); give a text file with one line") from error
    if not 16 <= len(token) <= 4096 or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"the token file {path} must hold one word of 16 to 4096 ASCII characters; "
            "make one with: openssl rand -hex 32"
        )
    return token


def read_encoders(given: list[str], galleries: Mapping[str, Path]) -> dict[str, str]:
    """`[name=]ENCODER …` to encoders by galleries; one without a gallery's name is for all."""
    found: dict[str, str] = {}
    for each in given:
        name, equals, encoder = each.partition("=")
        if equals and name in galleries:
            found[name] = encoder
        else:
            found |= {name: each for name in galleries if name not in found}
    return found
