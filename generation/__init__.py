"""Makes pictures from references, in batches: requests in; pictures, a manifest and a page out.

Authors of strategies find `BaseStrategy`, `Draft`, `Made` and the checks of settings here.
"""

from .copy.copywriting import Copywriter
from .references.reference import Reference
from .requests import GenerationRequest, read_requests
from .run.job import generate
from .run.journal import read_facts
from .run.plan import RunOptions
from .run.results import GenerationResult, Results
from .strategies import (
    BaseStrategy,
    Draft,
    DraftError,
    Made,
    ModelOptions,
    Strategy,
    as_tuple,
    check_choice,
    check_number,
    check_text,
    load_strategies,
)

__all__ = [
    "BaseStrategy",
    "Copywriter",
    "Draft",
    "DraftError",
    "GenerationRequest",
    "GenerationResult",
    "Made",
    "ModelOptions",
    "Reference",
    "Results",
    "RunOptions",
    "Strategy",
    "as_tuple",
    "check_choice",
    "check_number",
    "check_text",
    "generate",
    "load_strategies",
    "read_facts",
    "read_requests",
]
