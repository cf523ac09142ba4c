"""The loop in the calling process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from ...encoders.spec import EncoderSpec, ImageEncoder, TextEncoder
from ...store.ledger import ShardJob
from ..events import Event
from ..loop import LoopSettings, run_jobs


class InProcess:
    """Runs the loop in this process, on encoders that are already loaded."""

    def __init__(self, encoders: Sequence[ImageEncoder], settings: LoopSettings) -> None:
        self._encoders = list(encoders)
        self._settings = settings

    @property
    def specs(self) -> Sequence[EncoderSpec]:
        """See `Executor`."""
        return [encoder.spec for encoder in self._encoders]

    @property
    def encodes_texts(self) -> bool:
        """See `Executor`."""
        return isinstance(self._encoders[0], TextEncoder)

    @property
    def texts(self) -> bool:
        """See `Executor`."""
        return self._settings.texts

    def run(self, jobs: Sequence[ShardJob], gallery: Path) -> Generator[Event, None, None]:
        """See `Executor`."""
        return run_jobs(jobs, gallery, self._encoders, self._settings)
