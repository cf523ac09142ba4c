"""The embedding job: shards in, a gallery out.

`embed` runs in this process. `embed_with` takes an `Executor`, which decides where the work runs.
"""

from ..store.ledger import ShardJob
from .events import Broken, Committed, Encoded, Event, Scanned
from .executors import Executor, InProcess, LocalProcesses
from .job import BATCH_SIZE, Summary, embed, embed_with
from .loop import LoopSettings, run_jobs

__all__ = [
    "BATCH_SIZE",
    "Broken",
    "Committed",
    "Encoded",
    "Event",
    "Executor",
    "InProcess",
    "LocalProcesses",
    "LoopSettings",
    "Scanned",
    "ShardJob",
    "Summary",
    "embed",
    "embed_with",
    "run_jobs",
]
