"""`index.graph`: a graph of SVS's Vamana, as SVS saves it, in one uncompressed zip archive.

The archive holds the graph and its configuration. The vectors are the gallery's rows, so they are not stored again: SVS
reads them from a temporary file, because it opens files only.

Shapes: N rows, D dimension, E edges of a row at most.
"""

from __future__ import annotations

import os
import shutil
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from ...datasets.errors import InputError
from ..store.vectors import Vectors
from .lists import untyped_faiss

ROWS, NEW_ROWS, CONFIG, GRAPH = "rows.bin", "new_rows.bin", "config", "graph"
_GRAPH_FILE = "graph_0.svs"
_SETTINGS = "svs_config.toml"
_MEMBERS = (f"{CONFIG}/{_SETTINGS}", f"{GRAPH}/{_SETTINGS}", f"{GRAPH}/{_GRAPH_FILE}")
# The files that begin with the numbers of rows and values, as `.bin` files of vectors do; SVS reads that format.
_ROWS_HEADER = struct.Struct("<II")
# SVS begins its files with so many bytes.
_GRAPH_HEADER = 1024
_MOST_SETTINGS = 1 << 16  # bytes of a configuration; SVS writes less than 1 kB
_BLOCK = 65_536


def svs() -> Any:
    """The module of SVS, which has no type stubs.

    Raises:
        InputError: if it is not installed.
    """
    try:
        import svs  # type: ignore[reportMissingImports]
    except ImportError as error:
        raise InputError(
            f'a graph of SVS needs scalable-vs, which cannot be used here ({error}); run: pip install "diantu[svs]" '
            "(Linux on x86-64), or build another index with: diantu index --factory IVF… or --memory-budget"
        ) from error
    return svs


def write_rows(vectors: Vectors, path: Path, start: int, end: int) -> None:
    """Writes the gallery's rows from `start` to `end` to one file that SVS can read, float16 as they are stored."""
    with path.open("wb") as file:
        file.write(_ROWS_HEADER.pack(end - start, vectors.dim))
        for piece_ND in vectors.stored(start, end):
            file.write(np.ascontiguousarray(piece_ND).data)


def mapped_rows(path: Path, dim: int) -> np.ndarray:
    """The rows in a file of rows: `emb_ND` float16, mapped."""
    return np.memmap(path, np.float16, "r", _ROWS_HEADER.size).reshape(-1, dim)


def append_rows(path: Path, other: Path) -> None:
    """Moves the rows of another file of rows to the end of the first one."""
    with path.open("rb+") as file, other.open("rb") as source:
        (num_rows, dim), (num_new, _) = (_ROWS_HEADER.unpack(each.read(_ROWS_HEADER.size)) for each in (file, source))
        file.seek(0, os.SEEK_END)
        shutil.copyfileobj(source, file, 1 << 20)
        file.seek(0)
        file.write(_ROWS_HEADER.pack(num_rows + num_new, dim))
    other.unlink()


def loaded(folder: Path, dim: int) -> Any:
    """The graph in a folder, with the vectors in its file of rows, in memory."""
    module = svs()
    num_threads = untyped_faiss().omp_get_max_threads()  # one setting for both
    rows = module.VectorDataLoader(str(folder / ROWS), data_type=module.DataType.float16, dims=dim)
    graph = module.GraphLoader(str(folder / GRAPH))
    return module.Vamana(str(folder / CONFIG), graph, rows, module.DistanceType.MIP, num_threads=num_threads)


def pack(folder: Path | None, path: Path) -> None:
    """Writes the graph in a folder to an archive. A graph without rows is an archive without members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        if folder is not None:
            for name in _MEMBERS:
                archive.write(folder / name, name)


def unpack(file: IO[bytes], folder: Path, num_rows: int) -> None:
    """Writes what an archive holds to a folder.

    Raises:
        ValueError: if it is not an archive of a graph of so many rows. SVS trusts what it reads, so everything that it
            takes for an address is checked here.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if sorted(archive.namelist()) != sorted(_MEMBERS):
                raise ValueError(f"it holds {', '.join(archive.namelist()[:5]) or 'nothing'}")
            for name in _MEMBERS:
                if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
                    raise ValueError(f"{name} is compressed")
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(name) as member, (folder / name).open("wb") as copy:
                    shutil.copyfileobj(member, copy, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:  # the latter: it is encrypted
        raise ValueError(str(error)) from error
    _check(folder, num_rows)


def _check(folder: Path, num_rows: int) -> None:
    config, graph = settings(folder / CONFIG), settings(folder / GRAPH)
    degree = graph.get("max_degree")
    if not isinstance(degree, int) or not isinstance(entry := config.get("entry_point"), int):
        raise ValueError("its configuration is incomplete")
    says = (graph.get("num_vertices"), graph.get("binary_file"), graph.get("eltype"))
    if says != (num_rows, _GRAPH_FILE, "uint32") or not 0 <= entry < num_rows:
        raise ValueError(f"its configuration describes {says} and begins at row {entry}")
    path = folder / GRAPH / _GRAPH_FILE
    if path.stat().st_size != _GRAPH_HEADER + 4 * num_rows * (degree + 1):
        raise ValueError("its graph has another size than its configuration says")
    edges_NE = np.memmap(path, np.uint32, "r", _GRAPH_HEADER).reshape(num_rows, degree + 1)
    for start in range(0, num_rows, _BLOCK):
        counts_N, some_NE = edges_NE[start : start + _BLOCK, 0], edges_NE[start : start + _BLOCK, 1:]
        if counts_N.max() > degree or (some_NE[np.arange(degree) < counts_N[:, None]] >= num_rows).any():
            raise ValueError("its graph leads to rows that do not exist")


def settings(folder: Path) -> dict[str, Any]:
    """The configuration that SVS wrote to a folder.

    Raises:
        ValueError: if it cannot be read.
    """
    import toml

    path = folder / _SETTINGS
    if path.stat().st_size > _MOST_SETTINGS:
        raise ValueError(f"{path.name} is too large")
    values = toml.loads(path.read_text("utf-8")).get("object")
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} describes nothing")
    return values


def write_settings(folder: Path, values: dict[str, Any]) -> None:
    """Writes a configuration as SVS reads it."""
    import toml

    (folder / _SETTINGS).write_text(toml.dumps({"__version__": "v0.0.2", "object": values}), "utf-8")
