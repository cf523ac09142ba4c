"""What a command imports before it does anything: the version, help and status must answer quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from galleries import keyed, write_gallery

from diantu.datasets import InputError
from diantu.scripts.main import COMMANDS, call, main

# Each takes a tenth of a second or more to import, or imports one that does.
HEAVY = {"torch", "transformers", "faiss", "numpy", "pyarrow", "duckdb", "PIL", "fsspec", "diffusers", "tqdm", "pandas"}
# Calls `main` with each of the given command lines, one after another in one process, and prints what is imported then.
SCRIPT = """
import contextlib, io, sys
from diantu.scripts.main import main

for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):
        main(line.split())
    assert shown.getvalue(), line
    print(line.partition(" ")[0], *{name.partition(".")[0] for name in sys.modules})
"""


def imported(*lines: str) -> dict[str, set[str]]:
    """The first word of each command line → the packages that are imported after it."""
    done = subprocess.run([sys.executable, "-c", SCRIPT, *lines], capture_output=True, text=True, check=True)
    return {words[0]: set(words[1:]) for words in map(str.split, done.stdout.splitlines())}


def test_the_version_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diantu.scripts.main", "--version"], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("diantu 0.1.0\n", "")


def test_the_overview_imports_nothing_but_the_standard_library() -> None:
    for packages in imported("--help", "--version").values():
        assert not packages & {*HEAVY, "jsonargparse"}


def test_the_help_of_every_command_imports_nothing_heavy() -> None:
    for command, packages in imported(*(f"{command} --help" for command in COMMANDS)).items():
        assert not packages & HEAVY, command


def test_status_imports_nothing_heavy_but_numpy(tmp_path: Path) -> None:
    gallery = write_gallery(tmp_path / "g", keyed(2, 1))
    packages = imported(f"status --gallery {gallery}", f"status --gallery {gallery} --json --verify")["status"]
    assert packages & HEAVY == {"numpy"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--k", "many"], "--k is many; give a whole number"),
        (["--window", "1.5"], "--window is 1.5; give a whole number"),
        (["--explain", "maybe"], "--explain is maybe; give true or false"),
    ],
)
def test_an_option_of_another_type_is_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["search", "--gallery", "g", *arguments])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"diantu: {message} (see: diantu search --help)\n"


def test_a_text_in_place_of_a_list_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("source: a.tar\noutput: g\n")
    with pytest.raises(SystemExit) as ended:
        main(["embed", "--config", str(tmp_path / "c.yaml")])
    assert ended.value.code == 2
    assert "must be written in brackets" in capsys.readouterr().err


def test_an_unexpected_error_names_its_place(tmp_path: Path) -> None:
    """The place may be in a package that extends diantu."""
    (tmp_path / "broken.py").write_text("def scan(shard):\n    return {}['boom']\n")
    check = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import broken\n"
        "from diantu.scripts.main import call\n"
        "sys.exit(call(lambda: broken.scan(None), 'diantu test', []))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1
    assert "KeyError: 'boom' (this is a bug in broken.py, line 2; --debug shows more)" in done.stderr


def test_a_traceback_shows_text_of_strangers_without_its_escape_codes(capsys: pytest.CaptureFixture[str]) -> None:
    def refuse() -> int:
        raise InputError("the key '\x1b[2J' is given twice\u202e; \x9b0m")

    assert call(refuse, "diantu test", ["--debug"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2].endswith("InputError: the key '\\x1b[2J' is given twice\\u202e; \\x9b0m")
    assert lines[-1] == "diantu: the key '\\x1b[2J' is given twice\\u202e; \\x9b0m"
