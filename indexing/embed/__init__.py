"""The embedding job: shards in, a gallery out."""

from .job import BATCH_SIZE, Summary, embed, embed_with

__all__ = ["BATCH_SIZE", "Summary", "embed", "embed_with"]
