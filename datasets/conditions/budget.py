"""How long a condition may take."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real

from ..arguments import shown
from ..errors import InputError
from .messages import BudgetError

# Seconds that a condition may take for each million rows, unless the caller says otherwise.
WHERE_SECONDS = 5.0
_LEAST_SECONDS = 1.0
_MOST_SECONDS = 1_000_000.0


class Budget:
    """The time that is left to a condition. Reading the columns does not count."""

    def __init__(self, seconds: float = WHERE_SECONDS) -> None:
        """Gives the whole time.

        Args:
            seconds: for each million rows.

        Raises:
            InputError: if it is not a positive number of seconds.
        """
        is_number = isinstance(seconds, Real) and not isinstance(seconds, bool)
        if not (is_number and 0 < seconds <= _MOST_SECONDS):
            raise InputError(
                f"the where timeout is {shown(seconds)}; give seconds, more than 0, for example {WHERE_SECONDS:g}"
            )
        self.seconds = seconds
        self.left = seconds

    def renew(self) -> None:
        """Gives the whole time again, for the next million rows."""
        self.left = self.seconds

    def leave_some(self) -> None:
        """Leaves some time to the evaluation, however long it took to start a process."""
        self.left = max(self.left, min(self.seconds, _LEAST_SECONDS))

    @contextmanager
    def spent(self) -> Iterator[float]:
        """Subtracts the time of a block; gives the time that is left before it."""
        started = time.monotonic()
        try:
            yield max(self.left, 0.001)
        finally:
            self.left -= time.monotonic() - started

    def exceeded(self) -> BudgetError:
        """The error for a condition that took longer."""
        return BudgetError(
            f"takes longer than {self.seconds:g} s, its budget for a million rows; simplify it, or allow more seconds "
            "with --where-timeout (in Python: where_timeout)"
        )
