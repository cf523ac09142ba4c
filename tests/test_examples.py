"""The examples in docstrings are run as they stand there, beside the demo's folder."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOMS = ("datasets", "indexing", "search", "generation", "scripts")


def examples() -> list[doctest.DocTest]:
    """Of modules that have some: others, which may need extras, are not imported."""
    sources = [path for room in ROOMS for path in sorted((REPOSITORY / room).rglob("*.py"))]
    showing = [path.relative_to(REPOSITORY) for path in sources if ">>> " in path.read_text(encoding="utf-8")]
    modules = [importlib.import_module(".".join(("diantu", *path.with_suffix("").parts))) for path in showing]
    return [test for module in modules for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_examples_in_docstrings(demo: Path, example: doctest.DocTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo.parent)
    report: list[str] = []
    assert doctest.DocTestRunner().run(example, out=report.append).failed == 0, "".join(report)


def test_every_room_that_users_import_has_an_example() -> None:
    assert {example.name.split(".")[1] for example in examples()} >= {"search", "generation"}
