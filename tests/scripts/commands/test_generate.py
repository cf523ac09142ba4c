"""`diantu generate` on the demo's gallery and a small pipeline of diffusers."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from command_line import CommandLine
from zygote import Job, Zygote, wait_until

from diantu.datasets import photos
from diantu.generation import read_facts
from diantu.scripts.commands.generate import run

NUM_PROMPTS = 40
SETTINGS = ("img2img.strength=0.6", "img2img.steps=2")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions in both languages."""
    captions = [(row["caption_en"], row["caption_zh"]) for _, row in sorted(photos.rows().items())][: NUM_PROMPTS // 2]
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("\n".join(text for both in captions for text in both), encoding="utf-8")
    return path


def num_rows(root: Path) -> int:
    path = root / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_rows(job: Job, root: Path, count: int) -> None:
    wait_until(lambda: num_rows(root) >= count or job.poll() is not None, f"{count} rows")
    assert job.poll() is None, f"the job ended by itself: {job.stderr()}"


def pictures_of(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "pictures").iterdir())}


@pytest.mark.slow
def test_prompts_in_both_languages_killed_twice(
    demo: Path, tiny_sd: Path, prompts: Path, tmp_path: Path, jobs: Zygote
) -> None:
    options = {
        "prompts": str(prompts), "strategy": ["img2img"], "gallery": str(demo / "gallery"), "model": str(tiny_sd),
        "set": list(SETTINGS),
    }  # fmt: skip
    given = [
        part
        for name, value in options.items()
        for part in (f"--{name}", *([value] if isinstance(value, str) else value))
    ]
    killed = tmp_path / "killed"
    jobs.preload("transformers.CLIPModel", "diffusers.StableDiffusionImg2ImgPipeline")
    for enough in (6, 22):
        job = jobs.start("generate", "--output", killed, *given)
        wait_for_rows(job, killed, enough)
        job.send_signal(signal.SIGKILL)
        job.wait()
        assert enough <= num_rows(killed) < NUM_PROMPTS
    assert run(output=str(killed), **options) == 0
    assert len(pictures_of(killed)) == NUM_PROMPTS

    whole = tmp_path / "whole"  # by the same plan, and never stopped
    whole.mkdir()
    for name in ("run.json", "plan.jsonl", "requests.jsonl"):
        shutil.copy(killed / name, whole)
    assert run(output=str(whole), **options) == 0
    assert pictures_of(killed) == pictures_of(whole)

    rows = [json.loads(line) for line in (killed / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["name"] for row in rows] == [f"{i:04}-1" for i in range(1, NUM_PROMPTS + 1)]
    assert {row["status"] for row in rows} == {"done"}
    references = [row["references"][0] for row in rows]
    assert all(reference["licence"] and reference["source"] for reference in references)
    assert len({reference["row"] for reference in references}) >= NUM_PROMPTS // 2  # prompts get different references
    assert all(row["facts"]["steps_done"] >= 1 and row["strategy"]["revision"] for row in rows)


def test_a_run_that_is_asked_to_end_says_how_to_go_on(tmp_path: Path, jobs: Zygote) -> None:
    request = {"files": str(photos.FOLDER / "animal_panda.jpg"), "headline": "春天来了"}
    (tmp_path / "a.jsonl").write_text((json.dumps(request) + "\n") * 60)
    root = tmp_path / "run"
    options = ("--output", root, "--strategy", "overlay", "--batch-size", "1")
    job = jobs.start("generate", "--prompts", tmp_path / "a.jsonl", *options)
    wait_for_rows(job, root, 2)
    job.send_signal(signal.SIGTERM)
    assert job.wait() == 143
    assert "run the same command again to continue" in job.stderr()
    assert num_rows(root) == len(pictures_of(root)) < 60
    assert not list(root.rglob("*.tmp"))


def test_copy_on_files_needs_neither_gallery_nor_model(tmp_path: Path, diantu: CommandLine) -> None:
    (tmp_path / "a.csv").write_text(
        f"name,files,headline,subline\nsea,{photos.FOLDER / 'animal_panda.jpg'},春天来了,A new spring\n",
        encoding="utf-8",
    )
    done = diantu(
        "generate", "--prompts", tmp_path / "a.csv", "--output", tmp_path / "run", "--strategy", "overlay", "--json"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"made": 1, "before": 0, "done": 1}.items() <= report.items()
    assert "1 pictures in " in done.stderr.splitlines()[-1]
    facts = read_facts(tmp_path / "run/pictures/sea-1.png")
    assert facts["lines"] == ["春天来了", "A new spring"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--strategy", "drawing"], "'drawing'"),
        (["--strategy", "overlay", "--set", "overlay.colour"], "overlay.colour' has no value"),
        (["--strategy", "overlay", "--set", "size=3"], "img2img.strength"),
        (["--strategy", "overlay", "--no-reference", "ignore"], "skip, text-to-image, fail"),
        (["--strategy", "overlay"], "no gallery"),
        (["--strategy", "overlay", "--gallery", "nowhere"], "no gallery at nowhere"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    tmp_path: Path, diantu: CommandLine, options: list[str], sentence: str
) -> None:
    (tmp_path / "a.txt").write_text("a cat")
    done = diantu("generate", "--prompts", tmp_path / "a.txt", "--output", tmp_path / "run", *options)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_failures_make_the_command_fail(tmp_path: Path, diantu: CommandLine) -> None:
    (tmp_path / "a.jsonl").write_text('{"files": "none.jpg", "headline": "x"}')
    done = diantu("generate", "--prompts", tmp_path / "a.jsonl", "--output", tmp_path / "run", "--strategy", "overlay")
    assert done.returncode == 1
    assert "none.jpg cannot be read" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("1 failed, 0 skipped")
