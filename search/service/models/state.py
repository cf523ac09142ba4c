"""The state of the service and of a session, and refusals."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .fields import In, Out


class ProblemOut(Out):
    """Why a request was refused (RFC 9457)."""

    type: str = Field(examples=["urn:diantu:invalid"])
    title: str = Field(examples=["The request cannot be used"])
    status: int = Field(examples=[400])
    detail: str = Field(description="one sentence for users", examples=["k is 0; give at least 1"])
    instance: str | None = Field(None, examples=["/v1/search"])


class SessionRequest(In):
    """The token of the service."""

    token: str = Field(max_length=4096)


class SessionOut(Out):
    """Whether the service asks for a token, and whether this browser has given it."""

    token_required: bool
    authorized: bool


class HealthOut(Out):
    """The service runs."""

    status: Literal["ok"]


class ReadyOut(Out):
    """Every gallery can answer."""

    status: Literal["ready"]
    galleries: dict[str, str | None] = Field(
        description="for each gallery None, or why a newer version of it does not answer", examples=[{"demo": None}]
    )
