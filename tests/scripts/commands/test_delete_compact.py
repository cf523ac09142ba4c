"""`diantu delete`, `compact` and `status` as users meet them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CommandLine
from galleries import keyed, write_gallery

from diantu.indexing.build.job import build_index, carry_index
from diantu.indexing.index.report import IndexRequest
from diantu.indexing.store.tombstones import read_deleted
from diantu.indexing.upkeep.compaction import compact
from diantu.indexing.upkeep.deletion import delete


def test_delete_and_compact(tmp_path: Path, diantu: CommandLine) -> None:
    gallery = write_gallery(tmp_path / "g", keyed(4, 3, 2))
    (tmp_path / "keys.txt").write_bytes("\ufeff0-1\r\n\n1-0\nno such key\n".encode())

    told = diantu("delete", "--gallery", gallery, "--where", "number < 2", "--dry-run")
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr == f"2 rows would be deleted, 0 are already; 7 of {gallery} would be left\n"
    assert read_deleted(gallery).tolist() == []

    assert diantu("delete", "--gallery", gallery, "--keys", "0-0", "--keys", "0-1").returncode == 0
    assert read_deleted(gallery).tolist() == [0, 1]

    done = diantu("delete", "--gallery", gallery, "--keys-file", tmp_path / "keys.txt")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "1 of 3 keys are not in the gallery: no such key",
        f"1 rows deleted, 1 were already; 6 of {gallery} are left",
    ]
    assert read_deleted(gallery).tolist() == [0, 1, 4]
    assert "deleted 3 (diantu compact removes them)" in diantu("status", "--gallery", gallery).stdout.splitlines()

    done = diantu("compact", "--gallery", gallery, "--output", tmp_path / "new")
    assert done.returncode == 0
    assert done.stderr.splitlines()[-2:] == [
        "6 rows kept, 3 deleted rows dropped; 1 parts linked, 2 rewritten",
        f"next: diantu index --gallery {tmp_path / 'new'}",
    ]
    status = json.loads(diantu("status", "--gallery", tmp_path / "new", "--json", "--verify").stdout)
    assert (status["rows"], status["deleted"], status["shards_done"], status["problems"]) == (6, 0, 3, [])
    again = diantu("compact", "--gallery", gallery, "--output", tmp_path / "new")
    assert (again.returncode, again.stderr.splitlines()[-2:]) == (0, done.stderr.splitlines()[-2:])
    diantu("delete", "--gallery", gallery, "--keys", "2-0")
    again = diantu("compact", "--gallery", gallery, "--output", tmp_path / "new")
    assert again.returncode == 2
    assert again.stderr.endswith("new is a finished gallery; give a new folder\n")


def test_a_compaction_that_stopped_before_its_index_goes_on(tmp_path: Path, diantu: CommandLine) -> None:
    gallery = write_gallery(tmp_path / "g", keyed(60, 60))
    build_index(gallery, None, request=IndexRequest(factory="IVF4,Flat"))
    delete(gallery, where="number % 7 = 3")
    arguments = ("compact", "--gallery", gallery, "--output", tmp_path / "new")
    assert diantu(*arguments).returncode == 0
    index = tmp_path / "new/index/hf_x"
    whole = (index / "index.faiss").read_bytes()
    carried = tmp_path / "carried"
    compact(gallery, carried)
    assert carry_index(gallery, carried)
    for left in (None, carried / "index/hf_x"):  # nothing of the index, and what it has learned without the rows
        shutil.rmtree(index)
        if left is not None:
            shutil.copytree(left, index)
        assert diantu(*arguments).returncode == 0
        assert (index / "index.faiss").read_bytes() == whole
    report = (index / "index.json").read_bytes()
    again = diantu(*arguments)
    assert again.stderr.splitlines()[-1] == "the new gallery's index is complete"
    assert (index / "index.json").read_bytes() == report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no rows given; say which rows to delete with exactly one of --where, --keys and --keys-file"),
        (["--where", "true", "--keys", "0-0"], "--where and --keys given; say which rows"),
        (["--keys-file", "{tmp}/none.txt"], "none.txt cannot be read"),
        (["--keys-file", "{tmp}/empty.txt"], "empty.txt is empty; give one key per line"),
        (["--where", "numbr < 3"], "the nearest: number"),
        (["--where", "true", "--where-timeout", "0"], "the where timeout is 0; give seconds, more than 0"),
    ],
)
def test_bad_usage_deletes_nothing(tmp_path: Path, arguments: list[str], message: str, diantu: CommandLine) -> None:
    gallery = write_gallery(tmp_path / "g", keyed(2))
    (tmp_path / "empty.txt").write_text("\n")
    done = diantu("delete", "--gallery", gallery, *(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (gallery / "deleted.npy").exists()


@pytest.mark.parametrize("room", ["deletion", "compaction"])
def test_neither_needs_a_model(room: str) -> None:
    check = f"import sys, diantu.indexing.upkeep.{room}; print({{'torch', 'faiss', 'transformers'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "set()"
