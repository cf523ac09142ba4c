"""What holds on the command line holds over HTTP: the same answers, and the same sentences."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import CommandLine
from fastapi.testclient import TestClient
from planted import plant, unit
from services import client, records_of

from diantu.indexing.encoders import ImageEncoder, load_encoder
from diantu.indexing.store.manifest import Manifest

NUM_ROWS = 30

# Options of `diantu search`, and the same as a request.
DOORS: list[tuple[list[str], dict[str, Any]]] = [
    (["--text", "a red panda"], {"text": "a red panda"}),
    (["--text", "大熊猫"], {"text": "大熊猫"}),
    (["--text", "'; DROP TABLE rows; --"], {"text": "'; DROP TABLE rows; --"}),
    (["--text", "a\x1b[31mred\nline\t\u202e"], {"text": "a\x1b[31mred\nline\t\u202e"}),
    (["--text", "🐼 ﷽ e\u0301"], {"text": "🐼 ﷽ e\u0301"}),
    (["--text", "castle " * 1000], {"text": "castle " * 1000}),
    (["--text", "null"], {"text": "null"}),
    (["--text", "   "], {"text": "   "}),
    (["--text", "\u200b\u200b"], {"text": "\u200b\u200b"}),
    (
        ["--texts", "a^2", "b^0.5", "--negatives", "c"],
        {"texts": [{"text": "a", "weight": 2}, {"text": "b", "weight": 0.5}], "negatives": ["c"]},
    ),
    (["--texts", "a^0"], {"texts": [{"text": "a", "weight": 0}]}),
    (["--texts", "a", "--negatives", "a^1"], {"texts": ["a"], "negatives": [{"text": "a", "weight": 1}]}),
    (["--rows", "3", "4^0.5"], {"rows": [3, {"row": 4, "weight": 0.5}]}),
    (["--rows", "30"], {"rows": [30]}),
    (["--negatives", "a"], {"negatives": ["a"]}),
    *(
        (["--rows", "3", "--where", where], {"rows": [3], "where": where})
        for where in (
            "width > 110",
            "width > 1000000",
            "category = '熊猫' AND punsafe IS NULL",
            "caption LIKE '%猫%'",
            "CAPTION LIKE '%猫%' OR Width = 101",
            "width >",
            "width = 'x",
            "1 = 1; SELECT 1",
            "nothing > 1",
            "width / 0 > 1",
            "(SELECT count(*) FROM range(10)) > 1",
            "(SELECT content FROM read_text('/etc/passwd')) = 'x'",
            "width > 10 -- and so on",
            "",
            " ",
            "TRUE",
            "NULL",
            "width",
            "'text'",
            "(" * 300 + "width" + ")" * 300 + " > 1",
            "width > 1e400",
            "regexp_matches(category, '(')",
        )
    ),
    (["--rows", "3", "--k", "0"], {"rows": [3], "k": 0}),
    (["--rows", "3", "--k", "-1"], {"rows": [3], "k": -1}),
    (["--rows", "3", "--k", "1000"], {"rows": [3], "k": 1000}),
    (["--rows", "3", "--offset", "-1"], {"rows": [3], "offset": -1}),
    (["--rows", "3", "--offset", "25", "--k", "10"], {"rows": [3], "offset": 25, "k": 10}),
    (["--rows", "3", "--offset", "100000"], {"rows": [3], "offset": 100000}),
    (["--rows", "3", "--diversity", "2"], {"rows": [3], "diversity": 2}),
    (["--rows", "3", "--diversity", "0.5"], {"rows": [3], "diversity": 0.5}),
    (["--rows", "3", "--effort", "slow"], {"rows": [3], "effort": "slow"}),
    (["--rows", "3", "--effort", "0"], {"rows": [3], "effort": "0"}),
    (["--rows", "3", "--effort", "exact"], {"rows": [3], "effort": "exact"}),
    (["--rows", "3", "--missing", "drop"], {"rows": [3], "missing": "drop"}),
    (["--rows", "3", "--space", "dino"], {"rows": [3], "space": "dino"}),
    (["--rows", "3", "--rerank", "dino"], {"rows": [3], "rerank": "dino"}),
    (["--rows", "3", "--sort-by", "-width"], {"rows": [3], "sort_by": "-width"}),
    (["--rows", "3", "--sort-by", "nothing"], {"rows": [3], "sort_by": "nothing"}),
    (["--rows", "3", "--sort-by", "width", "--diversity", "0.5"], {"rows": [3], "sort_by": "width", "diversity": 0.5}),
    (["--rows", "3", "--window", "20"], {"rows": [3], "window": 20}),
    (["--rows", "3", "--sort-by", "width", "--window", "5"], {"rows": [3], "sort_by": "width", "window": 5}),
    (["--rows", "3", "--columns", "width", "category"], {"rows": [3], "columns": ["width", "category"]}),
    (["--rows", "3", "--columns", "nothing"], {"rows": [3], "columns": ["nothing"]}),
    (["--rows", "3", "--min-score", "2"], {"rows": [3], "min_score": 2}),
    (["--rows", "3", "--min-zscore", "3"], {"rows": [3], "min_zscore": 3}),
    (["--rows", "3", "--fold-duplicates"], {"rows": [3], "fold_duplicates": True}),
    (["--rows", "3", "--aesthetic", "0.5"], {"rows": [3], "aesthetic": 0.5}),
]


@pytest.fixture(scope="module")
def encoder(clip_folder: Path) -> ImageEncoder:
    return load_encoder(f"hf:{clip_folder}", device="cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, encoder: ImageEncoder) -> Path:
    folder = tmp_path_factory.mktemp("doors") / "g"
    Manifest(encoders=(encoder.spec,)).save(folder)
    emb_ND = unit(np.random.default_rng(3).standard_normal((NUM_ROWS, encoder.spec.dim)))
    return plant(folder, emb_ND, records_of(NUM_ROWS), num_parts=2)


@pytest.fixture(scope="module")
def service(root: Path, encoder: ImageEncoder) -> Iterator[TestClient]:
    with client(root, encoder) as calling:
        yield calling


@pytest.mark.parametrize(("options", "request_"), DOORS, ids=[" ".join(options)[:60] for options, _ in DOORS])
def test_both_doors_give_the_same(
    diantu: CommandLine, service: TestClient, root: Path, options: list[str], request_: dict[str, Any]
) -> None:
    told = diantu("search", "--gallery", root, "--json", *options)
    answer = service.post("/v1/search", json=request_)
    if told.returncode:
        assert told.returncode == 2
        assert answer.status_code == 400
        assert answer.json()["detail"] == told.stderr.strip().splitlines()[-1].removeprefix("diantu: ")
        return
    assert answer.status_code == 200, answer.text
    expected, found = json.loads(told.stdout), answer.json()
    for hit in found["hits"]:
        del hit["part"]
    for one in (expected, found):
        one["explain"].pop("ms")
    assert [hit["row"] for hit in found["hits"]] == [hit["row"] for hit in expected["hits"]]
    for ours, theirs in zip(found["hits"], expected["hits"], strict=True):
        assert ours.pop("score") == pytest.approx(theirs.pop("score"), abs=2e-6)
        assert ours == theirs
    assert found["query"] == expected["query"]
    assert found["explain"] == expected["explain"]
