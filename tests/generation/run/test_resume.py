"""A run that was stopped, killed or damaged ends with the same files; another run is refused."""

from __future__ import annotations

import logging
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from angles import gallery_at, open_gallery
from pictures import encoded, picture
from PIL import Image
from planted import plant
from run_folders import manifest_of, num_rows, pictures_of, statuses
from tinting import Tint, requests_of

from diantu.datasets import InputError
from diantu.datasets.files import exclusive
from diantu.generation import Draft, GenerationRequest, Made, RunOptions, generate

KILLS = 4


class Failing(Tint):
    def make(self, drafts: Sequence[Draft]) -> list[Made]:
        raise InputError("it fails")


def test_finished_pictures_are_not_made_again(shop: Path, tmp_path: Path) -> None:
    asked = requests_of(shop, 8)
    generate(asked, tmp_path, Tint(), options=RunOptions(batch_size=3))
    before = pictures_of(tmp_path)
    rows = (tmp_path / "manifest.jsonl").read_bytes()
    again = Tint()
    results = generate(asked, tmp_path, again, options=RunOptions(batch_size=3))
    assert (results.num_made, results.num_before, again.batches) == (0, 8, [])
    assert "8 were made before" in str(results)
    assert (tmp_path / "manifest.jsonl").read_bytes() == rows
    assert pictures_of(tmp_path) == before


def test_missing_and_damaged_pictures_are_made_again_in_the_same_batch(shop: Path, tmp_path: Path) -> None:
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
    assert pictures_of(tmp_path) == before  # the pictures of Tint depend on the size of the batch
    assert kept.stat().st_ino == written
    assert len(manifest_of(tmp_path)) == 8


def test_a_picture_with_an_incomplete_row_is_made_again(shop: Path, tmp_path: Path) -> None:
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
def test_a_job_that_is_killed_at_random_times_ends_with_the_same_files(shop: Path, tmp_path: Path) -> None:
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
    assert interrupted >= KILLS - 1, "the jobs ended before they were killed, so the test shows nothing"
    results = generate(requests_of(shop, count), root, Tint(), options=RunOptions(batch_size=3))
    assert 0 < results.num_made < count
    assert pictures_of(root) == whole
    assert [row["sha256"] for row in manifest_of(root)] == [row["sha256"] for row in manifest_of(tmp_path / "whole")]


def test_a_stopped_job_writes_its_pictures_and_can_continue(shop: Path, tmp_path: Path) -> None:
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
def test_another_run_in_the_same_folder_is_refused_and_both_values_are_shown(
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


def test_another_package_version_is_a_warning(shop: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    asked = requests_of(shop, 2)
    generate(asked, tmp_path, Tint())

    class Newer(Tint):
        def describe(self) -> dict[str, object]:
            return {**Tint.describe(self), "versions": {"pillow": "99"}}

    with caplog.at_level(logging.WARNING):
        assert generate(asked, tmp_path, Newer()).num_before == 2
    assert f"pillow {Image.__version__} → 99" in caplog.text


def test_folders_without_a_run_and_changed_plans_are_refused(shop: Path, tmp_path: Path) -> None:
    asked = requests_of(shop, 2)
    with pytest.raises(InputError, match="not empty and holds no run"):
        generate(asked, shop, Tint())
    generate(asked, tmp_path / "run", Tint())
    plan = tmp_path / "run/plan.jsonl"
    plan.write_text(plan.read_text(encoding="utf-8").replace('"seed": ', '"seed": 1'), encoding="utf-8")
    with pytest.raises(InputError, match=r"damaged.*plan\.jsonl"):
        generate(asked, tmp_path / "run", Tint())
    with exclusive(tmp_path / "run", "run.lock"), pytest.raises(InputError, match="another job"):
        generate(asked, tmp_path / "run", Tint())


def test_a_job_that_was_killed_while_planning_starts_again(shop: Path, tmp_path: Path) -> None:
    for name in ("run.lock", "requests.jsonl", "plan.jsonl.tmp", "plan.jsonl"):
        (tmp_path / name).write_text("half")
    assert generate(requests_of(shop, 2), tmp_path, Tint()).num_made == 2
    assert not list(tmp_path.glob("*.tmp"))


def test_a_run_follows_its_plan_although_the_gallery_changes(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path / "g", [0, 10, 20])
    asked = ["0", "9", "21"]
    generate(asked, tmp_path / "whole", Tint(), gallery=gallery)
    root = tmp_path / "run"
    with pytest.raises(InputError, match="it fails"):
        generate(asked, root, Failing(), gallery=gallery, options=RunOptions(batch_size=4))
    better = tmp_path / "better.jpg"
    better.write_bytes(encoded(picture(99)))
    place = {"shard": None, "offset": None, "length": None, "image_path": str(better)}
    plant(gallery.path, np.array([[1.0, 0.0]], np.float32), [place])
    generate(asked, root, Tint(), gallery=open_gallery(gallery.path))
    assert pictures_of(root) == pictures_of(tmp_path / "whole")


def test_a_reference_that_is_missing_since_the_plan_is_a_failure(tmp_path: Path) -> None:
    gallery = gallery_at(tmp_path / "g", [0, 10, 20])
    with pytest.raises(InputError, match="it fails"):
        generate(["0", "9"], tmp_path / "run", Failing(), gallery=gallery)
    (tmp_path / "g/1.jpg").unlink()
    results = generate(["0", "9"], tmp_path / "run", Tint(), gallery=gallery)
    assert statuses(results) == {"0001-1": "done", "0002-1": "failed"}
    assert "1.jpg is not on this machine; put the file back" in results[1].reason
    assert "or say where it is now: diantu status --relocate OLD NEW" in results[1].reason
