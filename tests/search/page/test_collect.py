"""The selection with its downloads, and the basket that becomes a file of prompts."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from browsing import Browsing

from diantu.generation.requests import read_requests
from diantu.search import Gallery

Browse = Callable[..., Browsing]


def picked(browsing: Browsing, *indices: int) -> None:
    for index in indices:
        browsing.tile(index).hover()
        browsing.tile(index).locator(".pick").click()


def test_the_selection_is_downloaded_in_three_forms(browse: Browse, demo: Path) -> None:
    hits = Gallery.open(demo / "gallery").search("castle", k=6)
    browsing = browse("?q=castle")
    browsing.rows()
    picked(browsing, 0, 1, 2)
    browsing.tile(5).locator("a").click(modifiers=["Shift"])  # through to this one
    picked(browsing, 1)  # not this one
    chosen = [hit for hit in hits if hit.rank != 2]
    assert browsing.page.inner_text("#picked strong") == "5 selected"
    files = {}
    for form in ("jsonl", "csv", "zip"):
        with browsing.page.expect_download() as download:
            browsing.page.click(f"#picked [data-act={form}]")
        assert download.value.suggested_filename == f"demo-5.{form}"
        files[form] = Path(download.value.path()).read_bytes()
    keys = {hit.key for hit in chosen}
    assert {json.loads(line)["key"] for line in files["jsonl"].splitlines()} == keys
    assert {row["key"] for row in csv.DictReader(io.StringIO(files["csv"].decode("utf-8-sig")))} == keys
    with zipfile.ZipFile(io.BytesIO(files["zip"])) as archive:
        contents = {archive.read(name) for name in archive.namelist()}
    assert {hit.bytes() for hit in chosen} <= contents
    browsing.type("hammer")  # the selection outlives a search
    browsing.until(lambda: browsing.asked[-1].get("texts") == ["hammer"], "hammers")
    assert browsing.page.inner_text("#picked strong") == "5 selected"
    browsing.page.click("#picked [data-act=like]")
    browsing.until(
        lambda: {term["row"] for term in browsing.asked[-1].get("rows", [])} == {hit.row for hit in chosen},
        "the rows are searched for",
    )
    assert browsing.page.locator("#picked").is_hidden()


def test_the_basket_becomes_a_file_of_prompts(browse: Browse, demo: Path, tmp_path: Path) -> None:
    hits = Gallery.open(demo / "gallery").search("castle", k=3)
    browsing = browse("?q=castle")
    browsing.rows()
    picked(browsing, 0, 2)
    browsing.page.click("#picked [data-act=basket]")
    browsing.tile(1).locator("a").click()
    browsing.page.click("#detail .primary")
    browsing.page.keyboard.press("Escape")
    browsing.until(lambda: "row=" not in browsing.page.url, "the details are closed")
    browsing.page.reload()  # the browser keeps it
    browsing.rows()
    assert browsing.page.inner_text("#basket-button .count") == "3"
    browsing.page.click("#basket-button")
    browsing.page.fill("#basket li:nth-child(1) input", "冬天的城堡")
    browsing.page.fill("#basket-prompt", "a castle at night")
    browsing.page.fill("#basket-negative", "people")
    browsing.page.fill("#basket-pictures", "2")
    requests = read_requests(_prompts(browsing, tmp_path))
    assert [request.to_json() for request in requests] == [
        {"name": hit.key, "prompt": prompt, "rows": (hit.row,), "negative_prompt": "people", "num_pictures": 2}
        for hit, prompt in zip(
            (hits[0], hits[2], hits[1]), ("冬天的城堡", "a castle at night", "a castle at night"), strict=True
        )
    ]
    browsing.page.get_by_label("One picture from all").check()
    (request,) = read_requests(_prompts(browsing, tmp_path))
    assert (request.prompt, request.rows) == ("a castle at night", (hits[0].row, hits[2].row, hits[1].row))
    browsing.page.click("#basket li:nth-child(2) button")
    browsing.page.click("#basket .head .text")  # empty it
    browsing.page.keyboard.press("Escape")
    browsing.page.click(".toast button")  # undo
    assert browsing.page.inner_text("#basket-button .count") == "2"


def _prompts(browsing: Browsing, folder: Path) -> Path:
    with browsing.page.expect_download() as download:
        browsing.page.click("#basket .primary")
    assert download.value.suggested_filename == "prompts.jsonl"
    path = folder / "prompts.jsonl"
    download.value.save_as(path)
    return path


def test_names_of_requests_are_valid_and_unique(browse: Browse, tmp_path: Path) -> None:
    keys = ["a/b", "a:b", "../..", "", "x" * 300, "图 1.", "A_b", "-y"]
    references = [{"row": row, "key": key, "prompt": ""} for row, key in enumerate(keys)]
    options = {"together": False, "prompt": "p", "negative": "", "pictures": 1}
    script = "(prompts, [references, options]) => prompts.promptLines(references, options)"
    path = tmp_path / "prompts.jsonl"
    path.write_text(browse().module("collect/prompts.js", script, [references, options]), "utf-8")
    requests = read_requests(path)
    assert [request.rows for request in requests] == [(row,) for row in range(len(keys))]
    assert [request.name for request in requests][:2] == ["a_b", "a_b-2"]
    assert len({request.name.casefold() for request in requests}) == len(keys)
