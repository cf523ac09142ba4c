"""A gallery, and a service over it in this process. Some files of tests have galleries of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from services import client, planted


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted(tmp_path_factory.mktemp("service") / "g")


@pytest.fixture(scope="module")
def service(root: Path) -> Iterator[TestClient]:
    with client(root) as calling:
        yield calling
