from __future__ import annotations

import json
import logging
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from angles import gallery_at, open_gallery
from pictures import encoded, jpeg, picture
from PIL import Image
from planted import plant
from tinting import Tint, requests_of

from diantu.datasets import InputError
from diantu.datasets.files import exclusive
from diantu.generation import Copywriter, Draft, GenerationRequest, Made, Results, RunOptions, generate, read_facts

KILLS = 4


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pictures of two sizes."""
    folder = tmp_path_factory.mktemp("shop")
    for i in range(7):
        (folder / f"{i}.jpg").write_bytes(jpeg(seed=i, size=(48, 36) if i % 3 else (36, 48)))
    return folder


def pictures_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "pictures").iterdir())}


def manifest_of(root: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (root / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def statuses(results: Results) -> dict[str, str]:
    return {result.name: result.status for result in results}


def test_pictures_come_with_all_that_is_known_of_them(tmp_path: Path) -> None:
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


def test_what_is_done_is_not_done_again(shop: Path, tmp_path: Path) -> None:
    asked = requests_of(shop, 8)
    generate(asked, tmp_path, Tint(), options=RunOptions(batch_size=3))
    before = pictures_of(tmp_path)
    rows = (tmp_path / "manifest.jsonl").read_bytes()
    again = Tint()
    results = generate(asked, tmp_path, again, options=RunOptions(batch_size=3))
    assert (results.num_made, results.num_before, again.batches) == (0, 8, [])
    assert "8 were there before" in str(results)
    assert (tmp_path / "manifest.jsonl").read_bytes() == rows
    assert pictures_of(tmp_path) == before


def test_missing_and_damaged_pictures_are_made_again_in_the_batch_that_they_were_made_in(
    shop: Path, tmp_path: Path
) -> None:
    asked = requests_of(shop, 8)
    generate(asked, tmp_path, Tint(), options=RunOptions(batch_size=3))
    before = pictures_of(tmp_path)
    (tmp_path / "pictures/0002-1.png").unlink()
    (tmp_path / "pictures/0005-1.png").write_bytes(before["0001-1.png"])
    (tmp_path / "pictures/0006-1.png.tmp").write_bytes(b"half a picture")
    kept = tmp_path / "pictures/0003-1.png"
    written = kept.stat().st_ino
    results = generate(asked, tmp_path, Tint(), options=RunOptions(batch_size=3))
    assert results.num_made == 2
    assert pictures_of(tmp_path) == before  # Tint's pictures depend on how many are made together
    assert kept.stat().st_ino == written
    assert len(manifest_of(tmp_path)) == 8


def test_a_torn_line_is_a_picture_that_is_made_again(shop: Path, tmp_path: Path) -> None:
    asked = requests_of(shop, 5)
    generate(asked, tmp_path, Tint())
    before = pictures_of(tmp_path)
    manifest = tmp_path / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:2]) + lines[2][:40])
    assert generate(asked, tmp_path, Tint()).num_made == 3
    assert [row["name"] for row in manifest_of(tmp_path)] == [f"000{i}-1" for i in range(1, 6)]
    assert pictures_of(tmp_path) == before


@pytest.mark.slow
def test_kill_at_random_instants(shop: Path, tmp_path: Path) -> None:
    count = 40
    generate(requests_of(shop, count), tmp_path / "whole", Tint(), options=RunOptions(batch_size=3))
    whole = pictures_of(tmp_path / "whole")
    rng = random.Random(0)
    root = tmp_path / "killed"
    script = [sys.executable, str(Path(__file__).parents[1] / "tinting.py"), str(shop), str(root), str(count), "0.05"]
    interrupted = 0
    for _ in range(KILLS):
        job = subprocess.Popen(script, stderr=subprocess.DEVNULL)
        enough = num_rows(root) + rng.randint(0, 8)
        while num_rows(root) < min(enough, count - 1) and job.poll() is None:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.1))
        job.send_signal(signal.SIGKILL)
        job.wait()
        interrupted += num_rows(root) < count
    assert interrupted >= KILLS - 1, "the jobs were over before they were killed: the test says nothing"
    results = generate(requests_of(shop, count), root, Tint(), options=RunOptions(batch_size=3))
    assert 0 < results.num_made < count
    assert pictures_of(root) == whole
    assert [row["sha256"] for row in manifest_of(root)] == [row["sha256"] for row in manifest_of(tmp_path / "whole")]


def num_rows(root: Path) -> int:
    path = root / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_stopped_job_writes_what_it_has_made_and_goes_on(shop: Path, tmp_path: Path) -> None:
    asked, options = requests_of(shop, 12), RunOptions(batch_size=3)
    generate(asked, tmp_path / "whole", Tint(), options=options)

    class Stopped(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return Tint.make(self, drafts)

    with pytest.raises(KeyboardInterrupt):
        generate(asked, tmp_path / "run", Stopped(), options=options)
    rows = manifest_of(tmp_path / "run")
    assert len(rows) == 6
    assert {f"{row['name']}.png" for row in rows} == pictures_of(tmp_path / "run").keys()
    assert generate(asked, tmp_path / "run", Tint(), options=options).num_made == 6
    assert pictures_of(tmp_path / "run") == pictures_of(tmp_path / "whole")


def test_out_of_memory_halves_the_batch_the_same_way_every_time(shop: Path, tmp_path: Path) -> None:
    asked, options = [requests_of(shop, 2)[1]] * 14, RunOptions(batch_size=7)
    small = Tint(most=2)
    results = generate(asked, tmp_path / "run", small, options=options)
    assert set(statuses(results).values()) == {"done"}
    sizes = [len(batch) for batch in small.batches]
    # 7 → 4 and 3, 4 → 2 and 2, 3 → 2 and 1; what was too large is not tried again.
    assert sizes == [7, 4, 2, 2, 3, 2, 1, 2, 2, 2, 1]
    assert [row["batch_size"] for row in manifest_of(tmp_path / "run")] == [2, 2, 2, 2, 2, 2, 1] * 2
    before = pictures_of(tmp_path / "run")
    (tmp_path / "run/pictures/0014-1.png").unlink()  # alone in its batch, though there was memory for two
    generate(asked, tmp_path / "run", Tint(most=2), options=options)
    assert pictures_of(tmp_path / "run") == before


def test_one_size_that_is_too_large_leaves_the_others_alone(shop: Path, tmp_path: Path) -> None:
    class LargeOnes(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            self.most = 1 if drafts[0].references[0].width == 36 else 1000
            return Tint.make(self, drafts)

    strategy = LargeOnes()
    generate(requests_of(shop, 14), tmp_path, strategy, options=RunOptions(batch_size=4))
    assert sorted(map(len, strategy.batches)) == [1] * 6 + [2, 4, 4, 4]  # the 36 × 48: 4 → 2, 2; 2 are known


def test_torchs_out_of_memory_is_one_too_and_alone_it_is_a_failure(shop: Path, tmp_path: Path) -> None:
    import torch

    class Full(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            if any(draft.name == "0002-1" for draft in drafts):
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return Tint.make(self, drafts)

    results = generate([requests_of(shop, 1)[0]] * 4, tmp_path, Full())
    assert statuses(results) == {"0001-1": "done", "0002-1": "failed", "0003-1": "done", "0004-1": "done"}
    assert results[1].reason == "out of memory (CUDA out of memory)"


def test_pictures_that_fail_do_not_stop_the_run_and_are_tried_again(shop: Path, tmp_path: Path) -> None:
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


def test_a_checker_keeps_pictures_out_for_good(shop: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("changes", "sides"),
    [
        ({"strategy": Tint(strength=0.25)}, ("strategy.settings.strength 0.5", "0.25")),
        ({"options": RunOptions(seed=3)}, ("options.seed 0", "options.seed 3")),
        ({"options": RunOptions(batch_size=2)}, ("batch_size 4", "batch_size 2")),
        ({"requests": 2}, ("3 requests", "2")),
        ({"requests": [GenerationRequest(prompt="other 提示", files=["x"])] * 3}, ('"prompt 0 提示"', '"other 提示"')),
    ],
)
def test_another_run_in_the_same_folder_is_refused_with_both_sides(
    shop: Path, tmp_path: Path, changes: dict[str, object], sides: tuple[str, str]
) -> None:
    asked = requests_of(shop, 3)
    generate(asked, tmp_path, Tint())
    given = changes.get("requests", asked)
    requests = asked[:given] if isinstance(given, int) else given
    with pytest.raises(InputError, match="another folder") as error:
        generate(requests, tmp_path, changes.get("strategy", Tint()), options=changes.get("options"))
    planned, now = str(error.value).split(", this job has ")
    assert sides[0] in planned
    assert sides[1] in now


def test_another_version_is_a_warning(shop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = requests_of(shop, 2)
    generate(asked, tmp_path, Tint())

    class Newer(Tint):
        def describe(self) -> dict[str, object]:
            return {**Tint.describe(self), "versions": {"pillow": "99"}}

    with caplog.at_level(logging.WARNING):
        assert generate(asked, tmp_path, Newer()).num_before == 2
    assert f"pillow {Image.__version__} → 99" in caplog.text


def test_folders_that_are_no_run_and_plans_that_have_changed_are_refused(shop: Path, tmp_path: Path) -> None:
    asked = requests_of(shop, 2)
    with pytest.raises(InputError, match="not empty and no run"):
        generate(asked, shop, Tint())
    generate(asked, tmp_path / "run", Tint())
    plan = tmp_path / "run/plan.jsonl"
    plan.write_text(plan.read_text(encoding="utf-8").replace('"seed": ', '"seed": 1'), encoding="utf-8")
    with pytest.raises(InputError, match=r"damaged.*plan\.jsonl"):
        generate(asked, tmp_path / "run", Tint())
    with exclusive(tmp_path / "run", "run.lock"), pytest.raises(InputError, match="another job"):
        generate(asked, tmp_path / "run", Tint())


def test_a_job_that_was_killed_while_it_planned_begins_anew(shop: Path, tmp_path: Path) -> None:
    for name in ("run.lock", "requests.jsonl", "plan.jsonl.tmp", "plan.jsonl"):
        (tmp_path / name).write_text("half")
    assert generate(requests_of(shop, 2), tmp_path, Tint()).num_made == 2
    assert not list(tmp_path.glob("*.tmp"))


def test_a_run_follows_its_plan_whatever_becomes_of_the_gallery(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path / "g", [0, 10, 20])
    asked = ["0", "9", "21"]
    generate(asked, tmp_path / "whole", Tint(), gallery=gallery)
    root = tmp_path / "run"
    with pytest.raises(InputError, match="a bad moment"):
        generate(asked, root, Moody(), gallery=gallery, options=RunOptions(batch_size=4))
    better = tmp_path / "better.jpg"
    better.write_bytes(encoded(picture(99)))
    place = {"shard": None, "offset": None, "length": None, "image_path": str(better)}
    plant(gallery.path, np.array([[1.0, 0.0]], np.float32), [place])
    generate(asked, root, Tint(), gallery=open_gallery(gallery.path))
    assert pictures_of(root) == pictures_of(tmp_path / "whole")


class Moody(Tint):
    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        raise InputError("a bad moment")


def test_a_reference_that_has_gone_since_is_told(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path / "g", [0, 10, 20])
    with pytest.raises(InputError, match="a bad moment"):
        generate(["0", "9"], tmp_path / "run", Moody(), gallery=gallery)
    (tmp_path / "g/1.jpg").unlink()
    results = generate(["0", "9"], tmp_path / "run", Tint(), gallery=gallery)
    assert statuses(results) == {"0001-1": "done", "0002-1": "failed"}
    assert "no image of it is known" in results[1].reason


def test_what_becomes_of_a_picture_without_reference_is_chosen(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path / "g", [0, 10])
    asked = [GenerationRequest(prompt="0"), GenerationRequest(prompt="90", min_score=0.5)]

    results = generate(asked, tmp_path / "skip", Tint(), gallery=gallery)
    assert statuses(results) == {"0001-1": "done", "0002-1": "skipped"}
    assert "below min_score 0.5" in results[1].reason
    assert "1 skipped" in str(results)

    with pytest.raises(InputError, match=r"1 of 2 pictures have no reference good enough \(0002-1: "):
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


def test_a_file_that_cannot_be_read_is_a_failure_of_its_picture(shop: Path, tmp_path: Path) -> None:
    asked = [*requests_of(shop, 1), GenerationRequest(prompt="x", files=[str(shop / "none.jpg")])]
    results = generate(asked, tmp_path, Tint())
    assert statuses(results) == {"0001-1": "done", "0002-1": "failed"}
    assert "none.jpg cannot be read (No such file or directory)" in results[1].reason


def test_seeds_belong_to_prompts_and_not_to_places(shop: Path, tmp_path: Path) -> None:
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
        (replace(asked, files=asked.files * 2), "has 2 references a picture; tint takes 1"),
        (replace(asked, files=(), k=3), "has 3 references a picture; tint takes 1"),
    ):
        strategy = Tint()
        with pytest.raises(InputError, match=message):
            generate(
                [asked, replace(wrong, name="0001") if "0001-1" in message else wrong][-1:], tmp_path / "x", strategy
            )
        assert strategy.batches == []
    with pytest.raises(InputError, match="no requests"):
        generate([], tmp_path / "x", Tint())


def test_a_mask_reaches_the_strategy_as_one_channel(shop: Path, tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    mask.write_bytes(encoded(Image.new("RGB", (36, 48), "white"), "PNG"))
    seen: list[Image.Image | None] = []

    class Masked(Tint):
        def make(self, drafts: Sequence[Draft]) -> list[Made]:
            seen.extend(draft.mask for draft in drafts)
            return Tint.make(self, drafts)

    generate([replace(requests_of(shop, 1)[0], mask=str(mask))], tmp_path / "run", Masked())
    assert [(image.mode, image.size) for image in seen if image] == [("L", (36, 48))]


def test_copy_is_searched_for_set_and_turned_into_a_prompt(shop: Path, tmp_path: Path) -> None:
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
