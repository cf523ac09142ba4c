"""The command line as users meet it: exit codes, standard output and error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import CommandLine
from pictures import jpeg, write_tar

from diantu.datasets import photos

REPOSITORY = Path(__file__).parents[2]


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "diantu.scripts.main", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    for command in ("demo", "embed", "status", "index", "search", "evaluate"):
        assert command in done.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"torch", "faiss", "transformers", "numpy", "pyarrow", "jsonargparse", "duckdb"}


def test_search_prints_json_and_nothing_else(demo: Path, tmp_path: Path, diantu: CommandLine) -> None:
    done = diantu(
        "search",
        "--gallery",
        demo / "gallery",
        "--text",
        "大熊猫",
        "--k",
        "5",
        "--json",
        "--sheet",
        tmp_path / "hits.html",
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["query"] == {"text": "大熊猫"}
    assert answer["took_ms"] > 0
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3, 4, 5]
    first = answer["hits"][0]
    assert {"rank", "row", "key", "score", "zscore", "caption"} <= set(first)
    assert first["key"] == "animal_panda"
    assert (tmp_path / "hits.html").exists()


def test_search_by_picture_and_by_vector(demo: Path, tmp_path: Path, diantu: CommandLine) -> None:
    by_picture = diantu(
        "search", "--gallery", demo / "gallery", "--image", photos.FOLDER / "animal_owl.jpg", "--k", "2"
    )
    assert by_picture.stdout.splitlines()[0].split()[-1] != ""
    assert "animal_owl" in by_picture.stdout.splitlines()[0]
    np.save(tmp_path / "v.npy", np.load(demo / "gallery" / "img_emb" / "img_emb_00001.npy")[:1])
    by_vector = diantu("search", "--gallery", demo / "gallery", "--vector", tmp_path / "v.npy", "--k", "1", "--json")
    assert json.loads(by_vector.stdout)["hits"][0]["row"] == 92


def test_a_mix_of_everything_that_a_query_may_have(demo: Path, diantu: CommandLine) -> None:
    cat = photos.FOLDER / "animal_cat.jpg"
    done = diantu(
        "search", "--gallery", demo / "gallery", "--texts", "大熊猫", "koala^0.5", "--images", f"{cat}^0.25",
        "--rows", "3^0.1", "--negatives", "城堡", "--negative-images", photos.FOLDER / "tool_hammer1.jpg",
        "--where", "category = 'animal'", "--k", "3", "--offset", "1", "--diversity", "0.2", "--explain",
        "--columns", "caption_zh", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    weights = [(part["weight"], *(name for name in part if name != "weight")) for part in answer["query"]["parts"]]
    assert weights == [
        (1.0, "text"), (0.5, "text"), (0.25, "image"), (0.1, "row"), (-0.5, "text"), (-0.5, "image"),
    ]  # fmt: skip
    assert [hit["rank"] for hit in answer["hits"]] == [2, 3, 4]
    assert answer["explain"]["rows"] == 25
    assert "caption_zh" in answer["hits"][0]["metadata"]
    assert "licence" not in answer["hits"][0]["metadata"]
    assert "strategy exact" in done.stderr
    assert "compared 25" in done.stderr


def test_lines_are_answered_one_after_another(demo: Path, diantu: CommandLine) -> None:
    """A line that cannot be answered is reported, and the next one is answered."""
    owl = photos.FOLDER / "animal_owl.jpg"
    lines = f"大熊猫\n\n@{owl}\n@/no/such.jpg\nkoala\n"
    command = ("search", "--gallery", demo / "gallery", "--k", "1")
    done = diantu(*command, "--json", stdin=lines)
    assert done.returncode == 0, done.stderr
    keys = [json.loads(line)["hits"][0]["key"] for line in done.stdout.splitlines()]
    assert keys == ["animal_panda", "animal_owl", "animal_koala"]
    assert "/no/such.jpg cannot be read" in done.stderr
    plain = diantu(*command, stdin="koala")
    assert plain.stdout.splitlines()[0].split()[0] == "1"
    assert "animal_koala" in plain.stdout


def test_no_match_is_an_answer(demo: Path, diantu: CommandLine) -> None:
    done = diantu("search", "--gallery", demo / "gallery", "--text", "washing machine", "--min-zscore", "9")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no results" in done.stderr


def test_duplicates_are_found_and_folded(demo: Path, tmp_path: Path, diantu: CommandLine) -> None:
    """Three subjects are among the bundled photographs twice; the larger image represents both."""
    gallery = shutil.copytree(demo / "gallery", tmp_path / "g")
    vector = tmp_path / "v.npy"
    np.save(vector, np.load(gallery / "img_emb" / "img_emb_00000.npy")[0])
    ask = ("search", "--gallery", gallery, "--vector", vector, "--k", "184", "--json", "--fold-duplicates")
    refused = diantu(*ask)
    assert refused.returncode == 2
    assert "diantu dedup" in refused.stderr
    done = diantu("dedup", "--gallery", gallery, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [report[name] for name in ("rows", "groups", "duplicates", "cut", "not_covered")] == [184, 3, 3, 0, 0]
    pairs = {group["representative"]: group["duplicates"] for group in report["largest"]}
    assert pairs == {
        "landmark_brandenburg_gate_b": ["landmark_brandenburg_gate"],
        "landmark_colosseum_b": ["landmark_colosseum"],
        "landmark_great_pyramid_of_giza": ["landmark_great_pyramid"],
    }
    hits = json.loads(diantu(*ask).stdout)["hits"]
    assert len(hits) == 181
    assert sum(hit["folded"] for hit in hits) == 3
    shown = diantu("dedup", "--gallery", gallery, "--threshold", "0.95").stdout
    assert "3 in 3 groups (1.6% of the rows)" in shown
    assert "landmark_colosseum_b  ←  landmark_colosseum\n" in shown


def test_evaluate_reports_captions_and_labelled_queries(demo: Path, diantu: CommandLine) -> None:
    done = diantu("evaluate", "--gallery", demo / "gallery", "--queries", photos.QUERIES, "--json")
    report = json.loads(done.stdout)
    assert set(report["retrieval"]) == {"caption_en", "caption_zh"}
    assert report["retrieval"]["caption_en"]["R@5"] >= 0.50
    assert report["retrieval"]["caption_zh"]["R@5"] >= 0.43
    assert report["delivers"]["text"]["recall@10"] == 1.0
    labelled = {line["text"]: line["P@10"] for line in report["labelled"]}
    assert labelled["动物"] == labelled["工具"] == labelled["著名建筑"] == 1.0


@pytest.mark.parametrize(
    "where", ["read_csv('/etc/passwd')", "1; DROP TABLE x", "no_such = 1", "key IN (FROM '/etc/passwd')"]
)
def test_conditions_of_queries_read_nothing_but_the_metadata(
    demo: Path, tmp_path: Path, where: str, diantu: CommandLine
) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps({"text": "x", "where": where}))
    done = diantu("evaluate", "--gallery", demo / "gallery", "--queries", tmp_path / "q.jsonl")
    assert done.returncode == 2
    assert "condition" in done.stderr
    assert "root:" not in done.stdout + done.stderr


def test_a_plain_folder_is_embedded_indexed_and_searched(
    tmp_path: Path, clip_folder: Path, diantu: CommandLine
) -> None:
    """Every command of the flow, with the status between them."""
    gallery = tmp_path / "g2"
    encoder = f"hf:{clip_folder}"
    done = diantu("embed", "--source", photos.FOLDER, "--output", gallery, "--encoder", encoder, "--batch-size", "32")
    assert done.returncode == 0, done.stderr
    assert "184 images in " in done.stderr.splitlines()[-1]
    assert done.stdout == ""
    status = json.loads(diantu("status", "--gallery", gallery, "--json", "--verify").stdout)
    assert (status["rows"], status["shards_done"], status["running"], status["problems"]) == (184, 1, False, [])
    assert diantu("index", "--gallery", gallery).returncode == 0
    report = json.loads((gallery / "index" / "hf_clip" / "index.json").read_text())
    assert report["delivers"]["text"]["recall@100"] == 1.0
    assert diantu("search", "--gallery", gallery, "--text", "panda", "--k", "3").stdout.count("\n") == 3


def test_a_model_that_moved_is_given_by_its_new_path(tmp_path: Path, clip_folder: Path, diantu: CommandLine) -> None:
    model = shutil.copytree(clip_folder, tmp_path / "model")
    tar = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg(1)), ("a.txt", b"red"), ("b.jpg", jpeg(2)), ("b.txt", b"blue")])
    gallery = tmp_path / "g"
    assert diantu("embed", "--source", tar, "--output", gallery, "--encoder", f"hf:{model}").returncode == 0
    moved = model.rename(tmp_path / "moved")
    without = diantu("index", "--gallery", gallery)
    assert without.returncode == 0
    assert "captions cannot be used as queries" in without.stderr
    assert diantu("search", "--gallery", gallery, "--text", "red").returncode == 2
    found = diantu("search", "--gallery", gallery, "--text", "red", "--encoder", f"hf:{moved}")
    assert found.stdout.count("\n") == 2


def test_status_lists_failures(tmp_path: Path, clip_folder: Path, diantu: CommandLine) -> None:
    tar = write_tar(tmp_path / "s.tar", [("a.jpg", jpeg()), ("b.jpg", b"broken")])
    diantu("embed", "--source", tar, "--output", tmp_path / "g", "--encoder", f"hf:{clip_folder}")
    shown = diantu("status", "--gallery", tmp_path / "g", "--failures").stdout
    assert "1 rows" in shown
    assert "failed  1 (1 undecodable)" in shown
    assert f"{tar}  b  undecodable" in shown


def test_an_unreadable_tar_ends_with_1_and_its_name(tmp_path: Path, clip_folder: Path, diantu: CommandLine) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 1000)
    done = diantu(
        "embed", "--source", tmp_path / "bad.tar", "--output", tmp_path / "g", "--encoder", f"hf:{clip_folder}"
    )
    assert done.returncode == 1
    assert f"shard left out: {tmp_path / 'bad.tar'} is not a tar that can be read" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("0 images in ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], ""),
        (["bogus"], "not a command of diantu"),
        (["search", "--gallery", "/no/gallery", "--text", "x"], "there is no gallery"),
        (["status", "--gallery", "/no/gallery"], "there is no gallery"),
        (["index", "--gallery", "/no/gallery"], "there is no gallery"),
        (["search", "--gallery"], "--gallery"),
        (["search", "--text", "x"], "gallery"),
        (["dedup", "--gallery", "/no/gallery"], "there is no gallery"),
        (["dedup", "--gallery", "g", "--threshold", "1.5"], "threshold is 1.5"),
        (["search", "--gallery", "g", "--k", "many"], "many"),
        (["search", "--gallery", "g", "--colour", "red"], "--colour"),
        (["search", "--gallery", "{demo}", "--negatives", "red"], "the query is empty"),
        (["search", "--gallery", "{demo}", "--rows", "first"], "the row 'first' is not a number"),
        (["search", "--gallery", "{demo}", "--text", "x", "--where", "widht > 3"], "the nearest: width"),
        (
            ["search", "--gallery", "{demo}", "--text", "x", "--where", "true", "--where-timeout", "0"],
            "the where timeout is 0; give seconds, more than 0",
        ),
        (
            ["evaluate", "--gallery", "{demo}", "--queries", "{tmp}/labelled.jsonl", "--where-timeout", "0"],
            "the where timeout is 0",
        ),
        (["search", "--gallery", "{demo}", "--text", "x", "--missing", "drop"], "missing values: exclude or include"),
        (["embed", "--source", "{photos}", "--output", "{tmp}/g", "--encoder", "clip"], "encoder 'clip' is not known"),
        (["embed", "--source", "{photos}", "--output", "{tmp}/g", "--encoder", "hf:/no/model"], "cannot be loaded"),
        (["embed", "--source", "{photos}", "--output", "{tmp}/g", "--encoder", "cn_clip:ViT-Z"], "neither a model"),
        (["embed", "--source", "{tmp}/none", "--output", "{tmp}/g"], "matches nothing"),
        (["embed", "--source", "{photos}", "--output", "{tmp}/g", "--device", "tpu9"], "cannot be used"),
        (["embed", "--source", "{photos}", "--output", "{tmp}/g", "--precision", "fp8"], "precision 'fp8'"),
        (["embed", "--source", "{photos}", "--output", "{tmp}/g", "--batch-size", "0"], "batch size 0"),
    ],
)
def test_bad_usage_gets_one_sentence(
    tmp_path: Path, demo: Path, arguments: list[str], message: str, diantu: CommandLine
) -> None:
    places = {"{photos}": photos.FOLDER, "{tmp}": tmp_path, "{demo}": demo / "gallery"}
    filled = arguments
    for name, place in places.items():
        filled = [argument.replace(name, str(place)) for argument in filled]
    done = diantu(*filled)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    if arguments:
        assert [line for line in done.stderr.splitlines() if line.startswith("diantu: ")] == done.stderr.splitlines()[
            -1:
        ]
        assert done.stdout == ""


@pytest.mark.parametrize("recipe", sorted(path.name for path in (REPOSITORY / "configs").glob("*.yaml")))
def test_recipes_are_understood(recipe: str, diantu: CommandLine) -> None:
    command = recipe.partition("-")[0]
    done = diantu(command, "--config", REPOSITORY / "configs" / recipe, "--print_config")
    assert done.returncode == 0, done.stderr
    assert "encoder" in done.stdout


def test_options_override_the_recipe(tmp_path: Path, diantu: CommandLine) -> None:
    (tmp_path / "c.yaml").write_text("source: [a.tar, b.tar]\noutput: g\nbatch_size: 8\n")
    done = diantu("embed", "--config", tmp_path / "c.yaml", "--batch-size", "16", "--print_config")
    assert "batch_size: 16" in done.stdout
    assert "- b.tar" in done.stdout


def test_the_demo_writes_its_page(demo: Path) -> None:
    page = (demo / "demo.html").read_text(encoding="utf-8")
    for text in ("大熊猫", "一座城堡", "hammer", "windmill by the sea", "landmark_colosseum.jpg"):
        assert text in page
    for copy in ("周末，去看大熊猫", "Sleep in a castle"):
        assert copy in page
    assert page.count("<section>") == 6
    assert page.count("<article class=poster>") == 2
    assert len(list((demo / "posters" / "pictures").iterdir())) == 2
