"""The errors that callers catch, the reasons why samples are left out, and how an error is shown on one line."""

from __future__ import annotations

from enum import Enum


class InputError(ValueError):
    """Something the caller gave cannot be used; the message says what was given, what is allowed, what to do."""


class ShardError(RuntimeError):
    """A shard cannot be read at all, so none of its samples can be.

    `may_pass` is True where another try may succeed (a network file system has a bad moment), False where the shard is
    not what it should be.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class Reason(str, Enum):
    """Why a sample (or the rest of a shard) was left out."""

    EMPTY = "empty"
    UNREADABLE = "unreadable"
    UNDECODABLE = "undecodable"
    TRUNCATED = "truncated"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MODE = "unsupported_mode"
    NO_IMAGE = "no_image"
    DUPLICATE_KEY = "duplicate_key"
    BAD_METADATA = "bad_metadata"
    NOT_FINITE = "not_finite"
    SHARD_TRUNCATED = "shard_truncated"


class SampleError(ValueError):
    """A sample cannot be used; becomes a `Failure` where its key is known."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def line(error: Exception) -> str:
    """An error's first line; the others are DuckDB's advice."""
    return str(error).splitlines()[0]
