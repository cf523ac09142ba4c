"""A served gallery follows its folder: rows come and go, an index is built, the folder breaks and is mended."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from planted import plant, unit
from services import DIM, Colours, client, encoder_of, planted, wait_for

from diantu.datasets import InputError
from diantu.indexing.build.job import build_index
from diantu.indexing.encoders import EncoderSpec
from diantu.indexing.store.manifest import read_manifest
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.deletion import delete
from diantu.search.service.app import create_app
from diantu.search.service.settings import Settings

ALL = {"vector": [1.0] * DIM, "k": 1000}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return planted(tmp_path / "g")


@pytest.fixture
def service(root: Path) -> Iterator[TestClient]:
    with client(root, refresh_seconds=0.05) as calling:
        yield calling


def keys(service: TestClient) -> set[str]:
    answer = service.post("/v1/search", json=ALL)
    assert answer.status_code == 200, answer.text
    return {hit["key"] for hit in answer.json()["hits"]}


def version(service: TestClient) -> str:
    return service.post("/v1/search", json=ALL).json()["version"]


def test_added_and_deleted_rows_and_an_index_are_picked_up(service: TestClient, root: Path) -> None:
    assert len(keys(service)) == 60
    seen = [version(service)]
    plant(root, unit(np.random.default_rng(9).standard_normal((5, DIM))))
    wait_for(lambda: len(keys(service)) == 65)
    seen.append(version(service))
    delete(root, keys=["3", "61"])
    wait_for(lambda: not keys(service) & {"3", "61"})
    seen.append(version(service))
    build_index(root, None)
    wait_for(lambda: version(service) not in seen)
    assert len(keys(service)) == 63
    assert len(set(seen)) == 3


def test_no_request_is_dropped_while_the_gallery_changes(service: TestClient, root: Path) -> None:
    answers: list[tuple[int, int]] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answer = service.post("/v1/search", json=ALL)
            answers.append((answer.status_code, len(answer.json().get("hits", ()))))

    thread = threading.Thread(target=ask)
    thread.start()
    for number in range(1, 6):
        plant(root, unit(np.random.default_rng(number).standard_normal((4, DIM))))
        wait_for(lambda number=number: bool(answers) and answers[-1][1] == 60 + 4 * number)
    is_over.set()
    thread.join()
    assert {status for status, _ in answers} == {200}
    counts = [count for _, count in answers]
    assert counts == sorted(counts)
    assert set(counts) <= {60 + 4 * number for number in range(6)}


def test_a_damaged_gallery_goes_on_with_the_version_before(
    service: TestClient, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = (root / "gallery.json").read_bytes()
    assert service.get("/readyz").json() == {"status": "ready", "galleries": {"g": None}}
    with caplog.at_level(logging.WARNING, "diantu"):
        (root / "gallery.json").write_bytes(before[:-40])
        wait_for(lambda: service.get("/readyz").json()["galleries"]["g"] is not None)
        assert "cannot be opened" in service.get("/readyz").json()["galleries"]["g"]
        assert len(keys(service)) == 60
        shutil.move(root, root.with_name("away"))
        wait_for(lambda: "there is no gallery" in service.get("/readyz").json()["galleries"]["g"])
        assert len(keys(service)) == 60  # what was read is kept
        gone = service.post("/v1/search", json={**ALL, "where": "width > 0"})  # columns are read where they were
        assert (gone.status_code, gone.json()["type"]) == (503, "urn:diantu:unavailable")
    assert len([record for record in caplog.records if "cannot be opened" in record.message]) <= 4  # not at each check
    shutil.move(root.with_name("away"), root)
    (root / "gallery.json").write_bytes(before)
    wait_for(lambda: service.get("/readyz").json()["galleries"]["g"] is None)
    assert len(keys(service)) == 60


def test_a_part_names_the_rows_as_they_are(service: TestClient, root: Path, tmp_path: Path) -> None:
    """After a compaction a row id may be another image, also in parts whose files have not changed."""
    hits = service.post("/v1/search", json=ALL).json()["hits"]
    before = {hit["row"]: (hit["key"], hit["part"]) for hit in hits}
    assert len({part for _, part in before.values()}) == 3
    delete(root, keys=["1"])
    compact(root, tmp_path / "compacted")
    shutil.move(root, tmp_path / "old")
    shutil.move(tmp_path / "compacted", root)
    after = {hit["row"]: (hit["key"], hit["part"]) for hit in service.post("/v1/search", json=ALL).json()["hits"]}
    assert len(after) == 59  # at once: rows of one folder must not get metadata of another
    changed = [row for row in after if after[row][0] != before[row][0]]
    assert len(changed) == 58
    assert all(after[row][1] != before[row][1] for row in changed)


class Late(Colours):
    """An encoder whose first text takes until it is told to go on."""

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__(spec)
        self.go_on = threading.Event()

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        assert self.go_on.wait(60)
        return super().encode_texts(texts)


def test_it_is_ready_after_the_model_and_one_search(root: Path) -> None:
    late = Late(read_manifest(root).spec)
    with TestClient(create_app(Settings(galleries={"g": root}), {"g": late}), base_url="http://127.0.0.1") as calling:
        answer = calling.get("/readyz")
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:diantu:unavailable")
        assert calling.get("/healthz").json() == {"status": "ok"}
        late.go_on.set()
        wait_for(lambda: calling.get("/readyz").status_code == 200)


def test_without_its_model_a_gallery_answers_vectors_only(root: Path) -> None:
    app = create_app(Settings(galleries={"g": root}))  # nothing is called hf:x
    with TestClient(app, base_url="http://127.0.0.1") as calling:
        wait_for(lambda: "being loaded" not in calling.get("/readyz").json()["detail"])
        assert "names the encoder 'hf:x'" in calling.get("/readyz").json()["detail"]
        assert calling.post("/v1/search", json=ALL).status_code == 200
        assert calling.post("/v1/search", json={"text": "a"}).status_code == 400


def test_several_galleries(root: Path, tmp_path: Path) -> None:
    other = planted(tmp_path / "h", num_rows=7, num_parts=1)
    encoders = {name: encoder_of(root) for name in ("first", "second")}
    with TestClient(
        create_app(Settings(galleries={"first": root, "second": other}), encoders), base_url="http://127.0.0.1"
    ) as calling:
        answers = {
            name: calling.post("/v1/search", json=ALL | {"gallery": name}).json() for name in (None, "first", "second")
        }
    assert {name: (answer["gallery"], len(answer["hits"])) for name, answer in answers.items()} == {
        None: ("first", 60), "first": ("first", 60), "second": ("second", 7),
    }  # fmt: skip


def test_what_cannot_be_served_is_refused_at_once(root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no gallery at"):
        create_app(Settings(galleries={"g": tmp_path}))
    with pytest.raises(InputError, match="an encoder is given for the gallery 'h', which is not served"):
        create_app(Settings(galleries={"g": root}, encoders={"h": "conse"}))
    for wrong in ({"galleries": {}}, {"threads": 0}, {"port": 70000}, {"deadline": 0.0}, {"cors": ("*",)}):
        with pytest.raises(InputError):
            Settings(**{"galleries": {"g": root}, **wrong})
