"""The embedding job: shards in, a gallery out.

`embed` runs in this process. `embed_with` takes an `Executor`, which decides where the work runs.
"""

from ..store.ledger import ShardJob
from .events import Broken, Encoded, Event, Scanned, Written
from .executors import Executor, InProcess, LocalProcesses, Slurm
from .job import BATCH_SIZE, Summary, embed, embed_with
from .loop import LoopSettings, run_jobs

__all__ = [
    "BATCH_SIZE",
    "Broken",
    "Encoded",
    "Event",
    "Executor",
    "InProcess",
    "LocalProcesses",
    "LoopSettings",
    "Scanned",
    "ShardJob",
    "Slurm",
    "Summary",
    "Written",
    "embed",
    "embed_with",
    "run_jobs",
]
