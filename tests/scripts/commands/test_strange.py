"""What commands print of galleries whose keys and captions were written by strangers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from planted import plant, unit
from strange import CONTROLS

from diantu.scripts.commands import search, status
from diantu.search import Gallery

EVIL = "\x1b]0;owned\x07a\nb\u202ec\x9b2J"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [{"key": f"k{EVIL}", "caption": EVIL, "=col": "=1+1"}, {"key": "plain", "caption": "a", "=col": "b"}]
    return plant(tmp_path_factory.mktemp("strange"), unit(np.eye(2)), records)


def test_a_search_prints_one_clean_line_per_hit(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    np.save(tmp_path / "v.npy", np.eye(2, dtype=np.float32)[0])
    search.run(str(planted), vector=str(tmp_path / "v.npy"), k=2)
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2
    assert not CONTROLS.search(printed.replace("\n", ""))
    assert "k\\x1b]0;owned\\x07a b\\u202ec\\x9b2J" in printed
    search.run(str(planted), vector=str(tmp_path / "v.npy"), k=2, json_=True)
    printed = capsys.readouterr().out
    assert not CONTROLS.search(printed.replace("\n", ""))
    assert json.loads(printed)["hits"][0]["key"] == f"k{EVIL}"


def test_the_lines_of_a_status_are_clean(planted: Path, capsys: pytest.CaptureFixture) -> None:
    report = {
        "gallery": EVIL, "rows": 1, "encoder": EVIL, "running": False, "shards": 1, "shards_done": 1, "failed": 1,
        "failures_by_reason": {EVIL: 1}, "deleted": 0, "quarantined": [EVIL],
        "failures": [{"shard": EVIL, "key": EVIL, "reason": "empty", "detail": EVIL}],
    }  # fmt: skip
    expected = len(list(status._lines(report)))
    status.print_lines(status._lines(report))
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == expected
    assert not CONTROLS.search(printed.replace("\n", ""))


def test_a_table_for_spreadsheets_holds_no_formula(planted: Path, tmp_path: Path) -> None:
    hits = Gallery.open(planted).search(vector=np.eye(2)[0], k=2)
    with hits.to_csv(tmp_path / "hits.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["'=col"] for row in rows] == ["'=1+1", "b"]
    assert float(rows[0]["score"]) == pytest.approx(1)
    assert not CONTROLS.search(rows[0]["caption"].replace("\n", ""))
