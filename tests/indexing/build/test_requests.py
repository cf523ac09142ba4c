"""What can be asked of a build: what is refused, plans without a build, and the plot of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from galleries import add_rows, new_gallery
from indexes import DIM, FACTORY, clustered, opened

from diantu.datasets import InputError
from diantu.indexing.build.job import build_index
from diantu.indexing.build.request import IndexRequest


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("HNSW16,PQ8", "does not support the inner product"),
        ("IVF8,ITQ,SH", "does not support the inner product"),
        ("PQ8", "cannot leave out deleted rows"),
        ("nonsense", "does not know the factory"),
    ],
)
def test_factories_of_another_metric_are_refused(tmp_path: Path, factory: str, message: str) -> None:
    root = new_gallery(tmp_path / "g", DIM)
    add_rows(root, clustered(0, 100))
    with pytest.raises(InputError, match=message):
        build_index(root, None, request=IndexRequest(factory=factory))


@pytest.mark.parametrize("effort", ["slow", 0, -1, 1.5, "nan"])
def test_efforts_that_do_not_exist_are_refused(built: Path, effort: str | float) -> None:
    with pytest.raises(InputError, match="give one of fast, balanced, exact"):
        opened(built).search(clustered(0, 1), 5, effort=effort)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (np.zeros((3, 5), np.float32), "3×5"), (np.zeros((3, DIM), np.float32), "zero")],
)
def test_queries_that_cannot_be_used_are_refused(
    gallery: Path, tmp_path: Path, content: np.ndarray | None, message: str
) -> None:
    path = tmp_path / "q.npy"
    if content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=message):
        build_index(gallery, None, request=IndexRequest(tune_queries=path, rebuild=True))
    assert sorted(path.name for path in (gallery / "index" / "hf_x").iterdir()) == ["index.faiss", "index.json"]


@pytest.mark.parametrize("target", [0.1, 1.0])
def test_recalls_that_cannot_be_promised_are_refused(gallery: Path, target: float) -> None:
    with pytest.raises(InputError, match="the target recall is"):
        build_index(gallery, None, request=IndexRequest(target_recall=target))


def test_a_plan_is_told_before_anything_is_built(gallery: Path, caplog: pytest.LogCaptureFixture) -> None:
    from diantu.scripts.commands.index import run

    before = {path: path.read_bytes() for path in (gallery / "index" / "hf_x").iterdir()}
    with caplog.at_level("INFO", logger="diantu"):
        assert run(str(gallery), factory="IVF32,SQ8", memory_budget="2MB", dry_run=True) == 0
        assert run(str(gallery), dry_run=True) == 0
    first, rows, second, _ = caplog.messages
    assert "--no-row-store" in rows
    assert first.startswith("IVF32,SQ8: chosen by --factory; about ")
    assert second.startswith(f"{FACTORY}: no row is new; about ")
    assert {path: path.read_bytes() for path in before} == before


def test_an_evaluation_can_be_drawn(gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    from diantu.scripts.commands.evaluate import run

    assert run(str(gallery), plot=str(tmp_path / "curve.png"), json_=True) == 0
    report = json.loads(capsys.readouterr().out)
    assert [point["effort"] for point in report["curve"]["image"]] == [0.8, 0.9, 0.95, 0.98, 0.99]
    recalls = [point["recall@10"] for point in report["curve"]["image"]]
    assert recalls[0] < recalls[2] < recalls[-1]
    with Image.open(tmp_path / "curve.png") as picture:
        assert picture.size > (600, 400)
        assert len(set(picture.convert("RGB").resize((200, 120)).get_flattened_data())) > 20
    with pytest.raises(InputError, match=r"does not end in one of \.png"):
        run(str(gallery), plot="curve.gif")
