"""`index.json`: what an index is, what was asked for, how it was tuned, and what it delivers.

Shapes: none; all values are scalars, texts and small tables.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...datasets.checksums import listed, read_checked
from ...datasets.errors import InputError
from ..store.snapshot import Snapshot
from .blocks import Blocks
from .calibration import Calibration
from .effort import Effort, EffortTable, TunedBreadth
from .vamana import degree as vamana_degree

log = logging.getLogger(__name__)

VERSION = 2  # of index.json
NAME, FAISS_FILE, GRAPH_FILE = "index.json", "index.faiss", "index.graph"
REMEDY = "build the index again with: diantu index"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexSpec:
    """What an index consists of: its factory string, its metric, rows to train on, the seed of their sample.

    The factory string is FAISS's, or `SVSVamana64,FP16` for a graph of SVS.
    """

    factory: str
    metric: str = "inner_product"
    train_rows: int = 0
    seed: int = 0

    @property
    def is_flat(self) -> bool:
        """Whether every row is compared, so that the index holds nothing that the gallery does not."""
        return self.factory == "Flat"

    @property
    def is_vamana(self) -> bool:
        """Whether it is a graph of SVS."""
        return vamana_degree(self.factory) is not None

    @property
    def file_name(self) -> str:
        """The file beside `index.json` that holds it."""
        return GRAPH_FILE if self.is_vamana else FAISS_FILE

    @property
    def is_mappable(self) -> bool:
        """Whether FAISS can search the codes in a memory-mapped file: all but fast-scan codes."""
        return "fs" not in self.factory.rpartition(",")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRequest:
    """What is asked for. None stands for what the gallery's index was asked for before, or for the default.

    Attributes:
        memory_budget: bytes that a searching process may spend on the index.
        target_recall: share of the exact results that a search must find.
        factory: FAISS's factory string, or SVS's, to choose the index oneself.
        tune_queries: a file of queries that users send.
        rebuild: train again even if the new rows could be folded in. Not remembered.
        row_store: lay the metadata out for answers as well.
        seed: of the samples that are drawn.
    """

    memory_budget: int | None = None
    target_recall: float | None = None
    factory: str | None = None
    tune_queries: Path | None = None
    rebuild: bool = False
    row_store: bool | None = None
    seed: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The request as `index.json` keeps it."""
        values = asdict(self)
        del values["rebuild"]
        if values["row_store"] is not False:  # the default, which index.json of earlier releases does not have
            del values["row_store"]
        return {**values, "tune_queries": str(self.tune_queries) if self.tune_queries else None}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> IndexRequest:
        """Inverse of `to_json`."""
        queries = values.get("tune_queries")
        return cls(**{**values, "tune_queries": Path(queries) if queries else None})


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How an index was trained.

    Attributes:
        rows: rows of the gallery at that time.
        residual: mean squared distance of a sample of them to the centres of their lists; 0 where there are no lists.
        drift: by which share the residual of all rows has grown since then.
    """

    rows: int
    residual: float
    drift: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What an index delivers for a sample of queries of one kind.

    Attributes:
        queries: how many queries were used.
        source: where they come from, in words.
        effort: of the searches.
        recall: number of results k → recall@k against exact search.
        interval: the 95 % confidence interval of each recall.
        latency_ms: `one_thread` and `all_threads` → `p50` and `p99` of one query at a time for 10 results.
        qps: the same → queries per second, all queries in one call.
    """

    queries: int
    source: str
    effort: Effort
    recall: Mapping[int, float]
    interval: Mapping[int, tuple[float, float]]
    latency_ms: Mapping[str, Mapping[str, float]]
    qps: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """The values as `index.json` holds them, with keys such as `recall@10`."""
        return {
            "queries": self.queries,
            "source": self.source,
            "effort": self.effort,
            **{f"recall@{k}": value for k, value in self.recall.items()},
            "interval": {f"recall@{k}": list(bounds) for k, bounds in self.interval.items()},
            "latency_ms": self.latency_ms,
            "qps": self.qps,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Delivered:
        """Inverse of `to_json`."""
        return cls(
            queries=values["queries"],
            source=values["source"],
            effort=values["effort"],
            recall={_k(name): value for name, value in values.items() if name.startswith("recall@")},
            interval={_k(name): (low, high) for name, (low, high) in values.get("interval", {}).items()},
            latency_ms=values["latency_ms"],
            qps=values.get("qps", {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """The queries of one kind that an index was tuned and measured with: how many, and where they come from."""

    count: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RowStoreSize:
    """What the row store takes on disk: its rows and bytes."""

    num_rows: int
    num_bytes: int

    @property
    def bytes_per_row(self) -> float:
        """Bytes for each row."""
        return round(self.num_bytes / max(self.num_rows, 1), 1)

    def to_json(self) -> dict[str, Any]:
        """The values as `index.json` holds them."""
        return {"num_rows": self.num_rows, "bytes": self.num_bytes, "bytes_per_row": self.bytes_per_row}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RowStoreSize:
        """Inverse of `to_json`."""
        return cls(num_rows=values["num_rows"], num_bytes=values["bytes"])


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReport:
    """Everything that `index.json` says. Mappings are by kind of queries, `text` and `image`.

    Attributes:
        space: the folder name of the space.
        encoder_fingerprint: of the encoder whose vectors the index holds.
        num_rows: rows that the index holds.
        num_bytes: size of `index.faiss` or `index.graph`.
        sha256: of that file; None in an index of an earlier release.
        head_sha256: of its first bytes; see `stored.HEAD`.
        blocks: the checksums that reading it compares; None in an index of an earlier release.
        target_recall: the recall of effort "balanced".
        request: what was asked for, with nothing left open.
        spec: what was built.
        reason: why, in words.
        training: how it was trained.
        build_seconds: seconds to train and to add rows.
        tuning: breadths by recall; empty where every row is compared.
        delivers: what was measured, on queries that were not used for tuning.
        calibration: what zscores are relative to.
        queries: the samples.
        row_store: what the row store takes; None if there is none.
        seed: of the samples.
        version: of the format.
    """

    space: str
    encoder_fingerprint: str
    num_rows: int
    num_bytes: int
    target_recall: float
    request: IndexRequest
    spec: IndexSpec
    reason: str
    training: Training
    build_seconds: float
    tuning: Mapping[str, tuple[TunedBreadth, ...]] = field(default_factory=dict)
    delivers: Mapping[str, Delivered] = field(default_factory=dict)
    calibration: Mapping[str, Calibration] = field(default_factory=dict)
    queries: Mapping[str, Sampled] = field(default_factory=dict)
    row_store: RowStoreSize | None = None
    seed: int | None = None
    version: int = VERSION
    sha256: str | None = None
    head_sha256: str | None = None
    blocks: Blocks | None = None

    @property
    def bytes_per_row(self) -> float:
        """Bytes of that file for each row."""
        return round(self.num_bytes / max(self.num_rows, 1), 1)

    @property
    def efforts(self) -> EffortTable:
        """What each effort means for this index."""
        return EffortTable(target_recall=self.target_recall, tuned=self.tuning)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        tuning = {kind: [asdict(point) for point in points] for kind, points in self.tuning.items()}
        return {
            "version": self.version,
            "space": self.space,
            "encoder_fingerprint": self.encoder_fingerprint,
            "num_rows": self.num_rows,
            "target_recall": self.target_recall,
            "request": self.request.to_json(),
            "spec": asdict(self.spec),
            **({"file": self.spec.file_name} if self.spec.is_vamana else {}),
            "reason": self.reason,
            "training": asdict(self.training),
            "build_seconds": self.build_seconds,
            "bytes": self.num_bytes,
            **({"sha256": self.sha256, "head_sha256": self.head_sha256} if self.sha256 else {}),
            **({"blocks": self.blocks.to_json()} if self.blocks else {}),
            "bytes_per_row": self.bytes_per_row,
            **({"tuning": tuning} if tuning else {}),
            "delivers": {kind: found.to_json() for kind, found in self.delivers.items()},
            "calibration": {kind: found.to_json() for kind, found in self.calibration.items()},
            **({"row_store": self.row_store.to_json()} if self.row_store else {}),
            "queries": {"seed": self.seed, **{kind: asdict(sample) for kind, sample in self.queries.items()}},
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> IndexReport:
        """Inverse of `to_json`; a report of an earlier release may lack what only later ones measure.

        Raises:
            KeyError: if something is missing that every release has written.
            TypeError: if a value has another type.
        """
        sampled = dict(values.get("queries", {}))
        seed = sampled.pop("seed", None)
        spec = IndexSpec(**values["spec"])
        return cls(
            version=values.get("version", 1),
            space=values.get("space", ""),
            encoder_fingerprint=values["encoder_fingerprint"],
            num_rows=values["num_rows"],
            num_bytes=values["bytes"],
            target_recall=values.get("target_recall", 1.0),
            request=IndexRequest.from_json(values.get("request", {})),
            spec=spec,
            reason=values.get("reason", ""),
            training=Training(**values.get("training", {"rows": values["num_rows"], "residual": 0.0})),
            build_seconds=values.get("build_seconds", 0.0),
            tuning={
                kind: tuple(TunedBreadth(**point) for point in points)
                for kind, points in values.get("tuning", {}).items()
            },
            delivers={kind: Delivered.from_json(found) for kind, found in values.get("delivers", {}).items()},
            calibration={kind: Calibration.from_json(found) for kind, found in values.get("calibration", {}).items()},
            queries={kind: Sampled(**sample) for kind, sample in sampled.items()},
            row_store=RowStoreSize.from_json(values["row_store"]) if "row_store" in values else None,
            seed=seed,
            sha256=values.get("sha256"),
            head_sha256=values.get("head_sha256"),
            blocks=Blocks.from_json(values["blocks"]) if "blocks" in values else None,
        )


def index_name(space: str) -> str:
    """The path of the folder of an index, in the folder of the gallery."""
    return f"index/{space}"


def index_folder(snapshot: Snapshot) -> Path:
    """The folder of the index of a gallery's main space."""
    return snapshot.root / index_name(snapshot.spec.slug)


def read_report(snapshot: Snapshot) -> IndexReport | None:
    """Reads the `index.json` of a gallery's index; None where there is no index.

    Raises:
        InputError: if it is damaged, or was written for another gallery.
    """
    path = index_folder(snapshot) / NAME
    if not path.exists():
        if f"{index_name(snapshot.spec.slug)}/{NAME}" in listed(snapshot.root):
            log.warning("%s is missing, so every row is compared; %s", path, REMEDY)
        return None
    try:
        data = read_checked(snapshot.root, f"{index_name(snapshot.spec.slug)}/{NAME}")
        report = IndexReport.from_json(json.loads(data.decode("utf-8")))
        if type(report.num_rows) is not int or report.num_rows < 0:
            raise ValueError("it has no number of rows")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); {REMEDY}") from error
    if report.encoder_fingerprint != snapshot.spec.fingerprint or report.num_rows > snapshot.num_rows:
        raise InputError(f"the index in {path.parent} was built for another gallery; {REMEDY}")
    return report


def _k(name: str) -> int:
    return int(name.removeprefix("recall@"))
