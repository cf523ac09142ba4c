"""Pictures made from references, in batches: requests in; pictures, a manifest and a page out."""

from .copywriting import Copywriter
from .manifest import read_facts
from .plan import RunOptions
from .reference import Reference
from .requests import GenerationRequest, read_requests
from .results import GenerationResult, Results
from .run import generate
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
