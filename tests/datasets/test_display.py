"""Text of strangers in terminals, tables and JSON; pages are in `search/sheets`."""

from __future__ import annotations

import io
import json
import logging
import random
import re
import unicodedata

import pytest
from fuzzing import rounds
from strange import CONTROLS, text

from diantu.datasets.display import TerminalFormatter, cell, lines, one_line, to_json


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("大熊猫 🐼 café", "大熊猫 🐼 café"),
        ("\x1b[31mred\x1b]8;;https://a.example\x07b", "\\x1b[31mred\\x1b]8;;https://a.example\\x07b"),
        ("\x9b2J", "\\x9b2J"),
        ("one\ntwo \r\n three\tfour\u2028five", "one two three four five"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("NUL \0, DEL \x7f, half \ud800", "NUL \\x00, DEL \\x7f, half \\ud800"),
        ("👩\u200d🚀 می\u200cخواهم", "👩\u200d🚀 می\u200cخواهم"),  # joiners are part of words
        ("C:\\images", "C:\\images"),
        (17, "17"),
    ],
)
def test_controls_become_visible(given: object, shown: str) -> None:
    assert one_line(given) == shown


def test_several_lines_stay_lines() -> None:
    assert lines("a\x1b\r\nb\rc\n") == "a\\x1b\nb\nc\n"


def test_json_is_exact() -> None:
    value = {"key\u202e": "\x1b\x9b\ud800\u2028 大熊猫 \\u001b"}
    assert json.loads(to_json(value)) == value
    assert "大熊猫" in to_json(value)
    assert not CONTROLS.search(to_json(value))


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("-cmd", "'-cmd"), ("+a", "'+a"), ("\t=1", "' =1"),
        ("-12.5", "-12.5"), ("+3", "+3"), ("a=b", "a=b"), ("", ""), (-3, -3), (None, None),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula(given: object, written: object) -> None:
    assert cell(given) == written


def test_a_message_is_one_line_and_a_traceback_keeps_its_lines() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(TerminalFormatter())
    log = logging.Logger("strange")
    log.addHandler(handler)
    log.warning("not read: %s", "a.jpg\ndiantu: all is well\x1b[A")
    assert stream.getvalue() == "not read: a.jpg diantu: all is well\\x1b[A\n"
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        log.exception("failed")
    assert stream.getvalue().endswith("\nValueError: \\x1b[2J\n")
    assert "\nTraceback" in stream.getvalue()


@pytest.mark.fuzz
def test_no_text_reaches_a_terminal_with_controls() -> None:
    seeded = random.Random(7)
    for _ in range(rounds(300)):
        given = text(seeded)
        shown = one_line(given)
        assert not CONTROLS.search(shown)
        assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
        assert shown.encode()
        assert not CONTROLS.search(lines(given).replace("\n", ""))
        # JSON joins halves that stand side by side.
        whole = given.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
        assert json.loads(to_json([given])) == [whole]
        assert not CONTROLS.search(to_json(given))
        written = str(cell(given))
        assert not re.match("[=@]|[-+](?![0-9.einEIN])", written)
