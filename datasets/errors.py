"""The errors that callers catch, the reasons why samples are left out, and an error's message on one line.

`except DiantuError` catches every error that diantu raises on purpose. Each kind is also one of Python's own errors, so
`except ValueError` and `except FileNotFoundError` work as well.
"""

from __future__ import annotations

from enum import Enum


class DiantuError(Exception):
    """The base class of all errors that diantu raises on purpose. Their messages are for users."""


class InputError(DiantuError, ValueError):
    """The caller gave something that cannot be used. The message says what was given, what is allowed, what to do."""


class RowError(InputError, LookupError):
    """A row is not one of the gallery's, or it was deleted (`was_deleted`)."""

    def __init__(self, message: str, *, was_deleted: bool = False) -> None:
        super().__init__(message)
        self.was_deleted = was_deleted


class FileError(DiantuError, RuntimeError):
    """The operating system does not let us read or write a file. The message names the file, the reason and a remedy.

    What the file holds is not in question: damage is an `InputError`, which says how to make the file again.
    """


class ShardError(DiantuError, RuntimeError):
    """A shard cannot be read, so none of its samples can be.

    `may_pass` is True where another try may succeed (a network file system fails for a moment), False where the
    shard's content is wrong.
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


class PixelsError(DiantuError, FileNotFoundError):
    """The image of a row is not where it was, and cannot be had from elsewhere."""


class ServiceError(DiantuError, ConnectionError):
    """A service cannot be reached, is busy, or could not do its work: not what was asked is wrong, and it may pass."""


class JobError(DiantuError, RuntimeError):
    """A process of a job ended before its work was done. The next run completes the work."""


class SampleError(DiantuError, ValueError):
    """One sample cannot be used. It becomes a `Failure` where the sample's key is known."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's type if it has none.

    One line fits into one sentence; DuckDB's further lines are advice about SQL.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
