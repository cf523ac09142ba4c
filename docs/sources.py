"""A hook of MkDocs: shows the tree to mkdocstrings under the names that it is installed by.

`pyproject.toml` maps each top-level folder to a package below `diantu`. mkdocstrings reads source files and does not
know that mapping, so the hook copies the Python files to a temporary folder with the layout of the installed package.
In the copies, doctests are fenced: as plain Markdown, `>>>` would be quotations and `['a']` a link.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority

ROOMS = ("datasets", "indexing", "search", "generation", "scripts")

# A doctest up to the next empty line, or to the end of its docstring.
DOCTEST = re.compile(r'^( *)>>> .*\n(?:\1(?!""").+\n)*', re.MULTILINE)

_copies: list[Path] = []


@event_priority(100)  # before mkdocstrings reads its configuration
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Copies the sources and adds them to the paths that mkdocstrings searches."""
    repository = Path(config.config_file_path).parent
    copy = Path(tempfile.mkdtemp(prefix="diantu-docs-"))
    _copies.append(copy)
    for room in ROOMS:
        for source in (repository / room).rglob("*.py"):
            target = copy / "diantu" / source.relative_to(repository)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(DOCTEST.sub(r"\1```pycon\n\g<0>\1```\n", source.read_text("utf-8")), "utf-8")
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(copy)]
    return config


def on_shutdown() -> None:
    """Removes the copies."""
    while _copies:
        shutil.rmtree(_copies.pop())
