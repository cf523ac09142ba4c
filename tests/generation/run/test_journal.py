from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from pictures import encoded, picture
from PIL import Image

from diantu.datasets import InputError
from diantu.generation import read_facts
from diantu.generation.run.journal import Journal, encode_png

DONE = {"name": "a", "status": "done", "file": "pictures/a.png"}
FACTS = {"prompt": "一只猫 \U0001f408 'a' \"b\"", "references": [{"licence": "CC0-1.0"}], "seed": 2**32 - 1}


def test_a_picture_contains_its_facts_and_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    image = picture(3, (50, 40))
    data = encode_png(image, FACTS)
    assert data == encode_png(image.copy(), dict(FACTS))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    assert read_facts(path) == FACTS
    assert Image.open(path).tobytes() == image.tobytes()


def test_other_images_contain_no_facts(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(picture(), "PNG"))
    (tmp_path / "b.png").write_bytes(encoded(picture(), "JPEG"))
    (tmp_path / "c.png").write_bytes(encode_png(picture(), FACTS)[:60])
    for name in ("a.png", "b.png", "c.png", "d.png"):
        with pytest.raises(InputError, match=f"{name} contains no facts"):
            read_facts(tmp_path / name)


def test_an_appended_row_is_on_disk_and_the_last_one_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for row in ({"name": "a", "status": "failed"}, {"name": "b", "status": "skipped", "prompt": "猫"}, DONE):
        journal.append(row)
    assert Journal(tmp_path).rows == {"a": DONE, "b": {"name": "b", "status": "skipped", "prompt": "猫"}}
    assert "猫" in (tmp_path / "manifest.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("torn", [b'{"name": "c", "st', b"\0" * 40, b"[1]\n", b'{"status": "done"}\n', b"\xff\n"])
def test_incomplete_lines_are_reported_and_removed(
    tmp_path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    whole = b"".join(json.dumps({"name": name, "status": "failed"}).encode() + b"\n" for name in "ab")
    (tmp_path / "manifest.jsonl").write_bytes(whole + torn)
    with caplog.at_level(logging.WARNING):
        journal = Journal(tmp_path)
    assert "1 lines" in caplog.text
    journal.keep(list(journal.rows.values()))
    assert (tmp_path / "manifest.jsonl").read_bytes() == whole
    journal.append({"name": "c", "status": "failed"})
    assert list(Journal(tmp_path).rows) == ["a", "b", "c"]


def test_rows_are_kept_in_the_order_given(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for name in "cab":
        journal.append({"name": name, "status": "failed"})
    journal.keep({"name": name, "status": "failed"} for name in "abc")
    journal.append({"name": "d", "status": "failed"})  # keep replaced the file that was open
    assert list(Journal(tmp_path).rows) == ["a", "b", "c", "d"]
