"""`index.json`: what is written is read again, and reports of earlier releases are read, too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from galleries import SPEC, new_gallery

from diantu.datasets import InputError
from diantu.datasets.checksums import write_checked_json
from diantu.indexing.index.calibration import Calibration
from diantu.indexing.index.effort import Breadth, TunedBreadth
from diantu.indexing.index.report import (
    Delivered,
    IndexReport,
    IndexRequest,
    IndexSpec,
    Sampled,
    Training,
    index_folder,
    index_name,
    read_report,
)
from diantu.indexing.store.snapshot import Snapshot

REPORT = IndexReport(
    space="hf_x", encoder_fingerprint=SPEC.fingerprint, num_rows=0, num_bytes=100, target_recall=0.95,
    request=IndexRequest(target_recall=0.95, tune_queries=Path("/q.txt"), seed=3),
    spec=IndexSpec(factory="IVF4,SQ8", train_rows=10, seed=3), reason="a test", training=Training(rows=9, residual=0.5),
    build_seconds=1.5,
    tuning={"text": (TunedBreadth(target=0.9, k=10, nprobe=2, candidates=20, recall=0.91),)},
    delivers={
        "text": Delivered(
            queries=5, source="captions", effort="balanced", recall={1: 0.9, 10: 0.95}, interval={10: (0.9, 1.0)},
            latency_ms={"one_thread": {"p50": 0.1, "p99": 0.2}}, qps={"one_thread": 9.0},
        )
    },
    calibration={"text": Calibration(mean=0.1, std=0.2, spread=0.3, centre_D=np.array([0.5, 0.25], np.float32))},
    queries={"text": Sampled(count=5, source="captions")}, seed=3,
)  # fmt: skip


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    snapshot = Snapshot.read(new_gallery(tmp_path, SPEC.dim))
    assert read_report(snapshot) is None
    write_checked_json(tmp_path, f"{index_name(REPORT.space)}/index.json", REPORT.to_json())
    read = read_report(snapshot)
    assert read is not None
    assert read.to_json() == REPORT.to_json()
    assert (read.request, read.tuning, read.delivers, read.training) == (
        REPORT.request, REPORT.tuning, REPORT.delivers, REPORT.training,
    )  # fmt: skip
    assert read.efforts.breadth(0.9, "text", 10) == Breadth(nprobe=2, candidates=20)
    assert read.efforts.breadth("balanced", "text", 10) is None


def test_the_keys_of_the_file_stay() -> None:
    """Users and other tools read them."""
    values = json.loads(json.dumps(REPORT.to_json()))
    assert list(values) == [
        "version", "space", "encoder_fingerprint", "num_rows", "target_recall", "request", "spec", "reason", "training",
        "build_seconds", "bytes", "bytes_per_row", "tuning", "delivers", "calibration", "queries",
    ]  # fmt: skip
    assert values["delivers"]["text"]["recall@10"] == 0.95
    assert values["delivers"]["text"]["interval"] == {"recall@10": [0.9, 1.0]}
    assert values["calibration"]["text"] == {"mean": 0.1, "std": 0.2, "spread": 0.3, "centre": [0.5, 0.25]}
    assert values["queries"] == {"seed": 3, "text": {"count": 5, "source": "captions"}}
    assert values["request"] == {
        "memory_budget": None, "target_recall": 0.95, "factory": None, "tune_queries": "/q.txt", "seed": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"num_rows": 0, "spec": 3, "encoder_fingerprint": "x", "bytes": 1}']
)
def test_a_damaged_report_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    snapshot = Snapshot.read(new_gallery(tmp_path, SPEC.dim))
    index_folder(snapshot).mkdir(parents=True)
    (index_folder(snapshot) / "index.json").write_text(text)
    with pytest.raises(InputError, match=r"index\.json is damaged .*; build the index again with: diantu index"):
        read_report(snapshot)
