"""Options of `diantu embed` that fit no executor, or not the one that was chosen, end in one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import CommandLine
from pictures import jpeg, write_tar


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_tar(tmp_path / "s.tar", [("a.jpg", jpeg())])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--executor moon", "executor 'moon' is not known; give one of: local, ray, slurm"),
        ("--num-processes 0", "num_processes is 0; give at least 1"),
        ("--executor ray --num-processes 0", "num_processes is 0; give at least 1"),
        ("--address auto", "address 'auto' is that of a Ray cluster; leave it out, or give --executor ray"),
        (
            "--executor ray --device cuda:1",
            "device 'cuda:1' cannot be used on Ray, which deals out the GPUs; give auto, cpu or cuda",
        ),
        ("--executor ray --batch-size 0", "batch size 0 with 0 workers cannot be used; give at least 1 and 0"),
        ("--executor ray --address here", "--address 'here' cannot be used; give auto, host:port or ray://host:port"),
        (
            "--executor ray --address 127.0.0.1:1",
            "no Ray cluster can be used at --address '127.0.0.1:1' ([Errno 111] Connection refused); start one with "
            "ray start, or leave out --address",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(
    source: Path, tmp_path: Path, diantu: CommandLine, options: str, message: str
) -> None:
    if "ray" in options:
        pytest.importorskip("ray")
    done = diantu("embed", "--source", source, "--output", tmp_path / "g", *options.split())
    assert (done.returncode, done.stderr) == (2, f"diantu: {message}\n")
    assert not (tmp_path / "g").exists()


def test_without_ray_one_sentence_names_the_extra(source: Path, tmp_path: Path) -> None:
    check = """
import importlib.util
import sys
there = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "ray" else there(name, package)
from diantu.scripts.main import main
main(sys.argv[1:])
"""
    command = ["embed", "--source", source, "--output", tmp_path / "g", "--executor", "ray"]
    done = subprocess.run([sys.executable, "-c", check, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        'diantu: the executor ray needs ray, which is not installed; run: pip install "diantu[ray]"\n'
    )
