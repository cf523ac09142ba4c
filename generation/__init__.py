"""Pictures made from references, in batches: requests in; pictures, a manifest and a page out."""

from .copy.copywriting import Copywriter
from .references.reference import Reference
from .requests import GenerationRequest, read_requests
from .run.job import generate
from .run.journal import read_facts
from .run.plan import RunOptions
from .run.results import GenerationResult, Results
from .strategies import Draft, Made, ModelOptions, Strategy, load_strategies

__all__ = [
    "Copywriter",
    "Draft",
    "GenerationRequest",
    "GenerationResult",
    "Made",
    "ModelOptions",
    "Reference",
    "Results",
    "RunOptions",
    "Strategy",
    "generate",
    "load_strategies",
    "read_facts",
    "read_requests",
]
