"""What a run makes of requests: pictures, rows, statuses, seeds, copy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from angles import gallery_at
from pictures import encoded
from PIL import Image
from run_folders import manifest_of, pictures_of, statuses
from tinting import Tint, requests_of

from diantu.datasets import InputError
from diantu.generation import Copywriter, Draft, GenerationRequest, Made, RunOptions, generate, read_facts


def test_each_picture_has_a_row_with_all_facts(tmp_path: Path) -> None:
    credits = {"licence": "CC0-1.0", "source": "https://example.org/a"}
    gallery = gallery_at(tmp_path / "g", [0, 40], [credits] * 2)
    asked = GenerationRequest(
        prompt="41", num_pictures=2, negative_prompt="blur", headline="春天", settings={"tint": {"strength": 0.2}}
    )
    results = generate([asked, "1"], tmp_path / "run", Tint(), gallery=gallery)
    assert [result.name for result in results] == ["0001-1", "0001-2", "0002-1"]
    assert str(results).endswith("pictures/s), 0 failed, 0 skipped")
    rows = manifest_of(tmp_path / "run")
    assert [row["name"] for row in rows] == ["0001-1", "0001-2", "0002-1"]
    row = rows[0]
    expected = {
        "status": "done", "prompt": "41", "written": "41", "negative_prompt": "blur", "lines": ["春天"],
        "query": ["41"], "settings": {"tint": {"strength": 0.2}}, "width": 40, "height": 30,
        "file": "pictures/0001-1.png", "batch_size": 3,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row["strategy"]["settings"] == {"strength": 0.5}
    (reference,) = row["references"]
    assert {"row": 1, "licence": "CC0-1.0", "source": "https://example.org/a"}.items() <= reference.items()
    assert row["gallery"] == json.loads((tmp_path / "run/run.json").read_text())["gallery"]["version"]
    told = read_facts(results[0].path)
    assert {name: value for name, value in row.items() if name in told} == told
    assert row.keys() - told.keys() == {"file", "sha256", "seconds", "batch_size"}
    assert results[0].image().size == (40, 30)
    assert (tmp_path / "run/index.html").exists()
    assert (tmp_path / "run/sheet.png").exists()


def test_failed_pictures_do_not_stop_the_run_and_are_retried(shop: Path, tmp_path: Path) -> None:
    asked = requests_of(shop, 4)
    results = generate(asked, tmp_path, Tint(black=("0002-1",), broken=("0003-1",)))
    assert [result.status for result in results] == ["done", "failed", "failed", "done"]
    assert "black" in results[1].reason
    assert results[2].reason == "it came out as not a number"
    assert "2 failed" in str(results)
    assert sorted(pictures_of(tmp_path)) == ["0001-1.png", "0004-1.png"]
    results = generate(asked, tmp_path, Tint())
    assert (results.num_made, results.counts) == (2, {"done": 4})
    assert len(manifest_of(tmp_path)) == 4


def test_pictures_that_a_checker_refuses_are_not_retried(shop: Path, tmp_path: Path) -> None:
    asked = requests_of(shop, 3)

    def tall(image: Image.Image) -> str | None:
        return "it is tall" if image.height > image.width else None

    results = generate(asked, tmp_path, Tint(), checker=tall)
    assert [(result.status, result.reason) for result in results] == [
        ("refused", "it is tall"),
        ("done", ""),
        ("done", ""),
    ]
    assert sorted(pictures_of(tmp_path)) == ["0002-1.png", "0003-1.png"]
    assert "1 refused" in str(results)
    again = Tint()
    assert generate(asked, tmp_path, again, checker=tall).counts == results.counts
    assert again.batches == []


def test_options_for_pictures_without_a_reference(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path / "g", [0, 10])
    asked = [GenerationRequest(prompt="0"), GenerationRequest(prompt="90", min_score=0.5)]

    results = generate(asked, tmp_path / "skip", Tint(), gallery=gallery)
    assert statuses(results) == {"0001-1": "done", "0002-1": "skipped"}
    assert "below min_score 0.5" in results[1].reason
    assert "1 skipped" in str(results)

    with pytest.raises(InputError, match=r"1 of 2 pictures have no reference that is good enough \(0002-1: "):
        generate(asked, tmp_path / "fail", Tint(), gallery=gallery, options=RunOptions(no_reference="fail"))
    assert not (tmp_path / "fail/run.json").exists()

    options = RunOptions(no_reference="text-to-image")
    with pytest.raises(InputError, match="without_reference"):
        generate(asked, tmp_path / "none", Tint(), gallery=gallery, options=options)
    drawn = Tint(name="drawn", num_references=(0, 0), strength=1.0)
    results = generate(asked, tmp_path / "text", Tint(), gallery=gallery, options=options, without_reference=drawn)
    assert drawn.batches == [["0002-1"]]
    assert statuses(results) == {"0001-1": "done", "0002-1": "done"}
    assert results[1].record["strategy"]["strategy"] == "drawn"
    assert "below min_score" in results[1].reason


def test_a_file_that_cannot_be_read_is_a_failure(shop: Path, tmp_path: Path) -> None:
    asked = [*requests_of(shop, 1), GenerationRequest(prompt="x", files=[str(shop / "none.jpg")])]
    results = generate(asked, tmp_path, Tint())
    assert statuses(results) == {"0001-1": "done", "0002-1": "failed"}
    assert "none.jpg cannot be read (No such file or directory)" in results[1].reason


def test_seeds_depend_on_prompts_and_not_on_positions(shop: Path, tmp_path: Path) -> None:
    cat, dog = (replace(asked, prompt=name) for asked, name in zip(requests_of(shop, 2), ("cat", "dog"), strict=True))
    fixed = replace(cat, seed=2**32 - 1, num_pictures=2, name="fixed")

    def seeds(name: str, *asked: GenerationRequest, seed: int = 0) -> list[int]:
        results = generate(asked, tmp_path / name, Tint(), options=RunOptions(seed=seed))
        return [result.record["seed"] for result in results]

    first, second, other = seeds("a", replace(cat, num_pictures=2), dog)
    assert len({first, second, other}) == 3
    assert seeds("b", dog, cat) == [other, first]
    assert seeds("c", cat, cat) == [first, second]
    assert seeds("d", cat, seed=1) != [first]
    assert seeds("e", fixed) == [2**32 - 1, 0]


def test_requests_that_the_strategy_cannot_use_are_refused_before_the_work(shop: Path, tmp_path: Path) -> None:
    (asked,) = requests_of(shop, 1)
    for wrong, message in (
        (replace(asked, settings={"tint": {"strength": 2}}), "0001-1"),
        (replace(asked, settings={"overlay": {"align": "left"}}), "'overlay', which is not in this run.*tint"),
        (replace(asked, files=asked.files * 2), "has 2 references per picture; tint takes 1 reference"),
        (replace(asked, files=(), k=3), "has 3 references per picture; tint takes 1 reference"),
    ):
        strategy = Tint()
        with pytest.raises(InputError, match=message):
            generate(
                [asked, replace(wrong, name="0001") if "0001-1" in message else wrong][-1:], tmp_path / "x", strategy
            )
        assert strategy.batches == []
    with pytest.raises(InputError, match="no requests"):
        generate([], tmp_path / "x", Tint())


def test_a_mask_reaches_the_strategy_with_one_channel(shop: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes(encoded(Image.new("RGB", (36, 48), "white"), "PNG"))
    seen: list[Image.Image | None] = []

    class Masked(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            seen.extend(draft.mask for draft in drafts)
            return Tint.make(self, drafts)

    generate([replace(requests_of(shop, 1)[0], mask=str(mask))], tmp_path / "run", Masked())
    assert [(image.mode, image.size) for image in seen if image] == [("L", (36, 48))]


def test_copy_becomes_keywords_lines_and_a_prompt(shop: Path, tmp_path: Path) -> None:
    (asked,) = requests_of(shop, 1)
    copy = replace(asked, prompt="给猫咪一个温暖的家\n新品上市")
    own = replace(copy, headline="我的标题")
    results = generate([copy, own], tmp_path / "run", Tint(), copywriter=Copywriter())
    first, second = results[0].record, results[1].record
    assert first["written"] == "给猫咪一个温暖的家\n新品上市"
    assert first["lines"] == ["给猫咪一个温暖的家", "新品上市"]
    assert "猫咪" in dict(first["keywords"])
    assert "猫咪" in first["prompt"]
    assert first["prompt"] != first["written"]
    assert first["copywriter"] == "offline"
    assert second["lines"] == ["我的标题"]
    with pytest.raises(InputError, match="copy true, this job has copy false"):
        generate([copy, own], tmp_path / "run", Tint())
