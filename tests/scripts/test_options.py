"""Texts of the command line are taken as they were given: YAML belongs to configuration files."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from diantu.scripts.main import COMMANDS
from diantu.scripts.options import UsageError, parse_options

# fmt: off
ODD = (
    "#sunset", "# width > 5", "a #b", "null", "~", "None", "true", "yes", "no", "on", "12", "007", "1_000", "0x1F",
    "1e3", "-.5e-3", "+1", "1.", ".inf", "2024-01-01", "12:30:45", "&more", "*x", "!x", "%x", "@x", "`x", "|", "> y",
    "?", "<<", "[a]", "{a: 1}", "a: b", "- a", "-5", "-dash", '"quoted"', "'", "", " lead", "trail ", "a\nb", "\t",
    "\x85", "\u2028", "\ufeff", "大熊猫 😀", "= ",
)
# fmt: on


def lists(
    path: str,
    name: str | None = None,
    key: str = "",
    terms: list[str] = [],  # noqa: B006
    others: list[str] = [],  # noqa: B006
    k: int = 1,
) -> int:
    """Has an option of every kind of text.

    Args:
        path: required.
        name: optional.
        key: with a default.
        terms: several.
        others: several more.
        k: no text.
    """
    return 0


def parsed(*options: str) -> dict[str, Any]:
    return parse_options(lists, "diantu lists", options)[0]


@pytest.mark.parametrize("text", ["#sunset", "null", "1e3", "-5", "[a]", " \n"])
def test_a_text_is_what_was_given(text: str) -> None:
    expected = {"path": text, "name": text, "key": text, "terms": [text, "x", text], "others": [], "k": 2}
    apart = ("--path", text, "--name", text, "--key", text, "--terms", text, "x", "--k", "2", "--terms", text)
    assert parsed(*apart) == expected
    joined = (f"--path={text}", f"--name={text}", f"--key={text}", f"--terms={text}", "--terms=x", f"--terms={text}")
    assert parsed(*joined, "--k=2") == expected


def test_odd_texts_are_the_same_from_the_command_line_and_from_what_it_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--path", "p", "--terms", *ODD)
    assert parsed(*given)["terms"] == list(ODD)
    with pytest.raises(SystemExit):
        parsed(*given, "--print_config")
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out, encoding="utf-8", newline="")
    assert parsed("--config", str(tmp_path / "c.yaml"))["terms"] == list(ODD)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_reads_its_texts_as_yaml(command: str) -> None:
    """Every option that takes a text, of every command, is given one that YAML would change."""
    name = "import_" if command == "import" else command.replace("-", "_")
    module = importlib.import_module(f"diantu.scripts.commands.{name}")
    kinds = {name: kind for name, kind in module.run.__annotations__.items() if "str" in kind}
    options = [part for name in kinds for part in (f"--{name.rstrip('_').replace('_', '-')}", "#null")]
    values, _ = parse_options(module.run, f"diantu {command}", options)
    assert {name: values[name] for name in kinds} == {
        name: ["#null"] if kind.startswith("list") else "#null" for name, kind in kinds.items()
    }


@pytest.mark.parametrize("written", ["2024", "yes", "1e3", "[a]"])
def test_what_yaml_reads_as_another_type_must_be_quoted(tmp_path: Path, written: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"path: p\nname: {written}\n")
    with pytest.raises(UsageError, match=r"^--name in the configuration file: YAML reads .*; put the text in quotes$"):
        parsed("--config", str(config))
    config.write_text(f"path: p\nname: '{written}'\n")
    assert parsed("--config", str(config))["name"] == written


def test_options_replace_what_a_configuration_file_says(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("path: p\nname: null\nterms: [a, b]\nothers: [c]\n")
    values = parsed("--config", str(config), "--terms", "d", "--terms=-e", "--path=null")
    assert values == {"path": "null", "name": None, "key": "", "terms": ["d", "-e"], "others": ["c"], "k": 1}


@pytest.mark.parametrize(
    "options", [("--name",), ("--name", "--k", "2"), ("--terms",), ("--terms", "--name", "a"), ("--name=a", "b")]
)
def test_a_value_that_is_missing_or_too_many_is_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"expected (at least )?one argument|unrecognized arguments: b"):
        parsed("--path", "p", *options)
