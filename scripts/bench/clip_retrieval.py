"""clip-retrieval's back end over the vectors and the metadata of a gallery, for `bench_serve`."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from ...indexing.store.parts import metadata_names, read_metadata
from ...indexing.store.snapshot import Snapshot
from ...indexing.store.vectors import Vectors

log = logging.getLogger(__name__)

_START_SECONDS = 600


@contextlib.contextmanager
def back_end(environment: Path, model: str, gallery: Path, folder: Path) -> Iterator[str]:
    """The URL of a back end in a process of its own.

    Its index is what `clip-retrieval index` makes of the vectors by default; it is written once and kept.

    Args:
        environment: a Python environment with clip-retrieval 2.45.
        model: the CLIP model that it loads at its start; vectors do not pass through it.
        gallery: where the vectors and the metadata are taken from.
        folder: for its files.

    Raises:
        RuntimeError: if a command of clip-retrieval fails.
    """
    index = folder / "index"
    if not (index / "image.index").exists():
        _write_embeddings(gallery, folder / "embeddings")
        log.info("clip-retrieval: building its index")
        _run(environment, folder, "index", f"--embeddings_folder={folder / 'embeddings'}", f"--index_folder={index}")
    (folder / "indices.json").write_text(json.dumps({"bench": str(index)}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [f"--indices_paths={folder / 'indices.json'}", f"--port={port}", f"--clip_model={model}"]
    # It answers with the columns that it is told, and fails if the metadata has none of them.
    names = pq.read_schema(next((folder / "embeddings" / "metadata").iterdir())).names
    options.append(f"--columns_to_return={json.dumps(names)}")
    options += ["--enable_mclip_option=False", "--use_jit=False", "--provide_aesthetic_embeddings=False"]
    with (folder / "back.log").open("w") as printed:
        process = subprocess.Popen(
            _command(environment, "back", *options), stdout=printed, stderr=printed, env=_variables(folder)
        )
    try:
        _wait(port, process, folder / "back.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _write_embeddings(gallery: Path, folder: Path) -> None:
    """The files that `clip-retrieval inference` would have written."""
    snapshot = Snapshot.read(gallery)
    for name in ("img_emb", "metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    emb_ND = np.concatenate([block for _, block in Vectors(snapshot).blocks()]).astype(np.float16)
    np.save(folder / "img_emb" / "img_emb_0.npy", emb_ND)
    for number, _ in snapshot.manifest.parts:
        table = read_metadata(gallery, number, metadata_names(gallery, number))
        # It looks whether image_path exists on the disk, and fails where it is null.
        table = table.select([name for name in table.column_names if not table[name].null_count])
        pq.write_table(table, folder / "metadata" / f"metadata_{number:05d}.parquet")


def _command(environment: Path, *words: str) -> list[str]:
    return [str(environment / "bin" / "clip-retrieval"), *words]


def _variables(folder: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(folder)}


def _run(environment: Path, folder: Path, *words: str) -> None:
    done = subprocess.run(_command(environment, *words), capture_output=True, text=True, env=_variables(folder))
    if done.returncode:
        raise RuntimeError(f"clip-retrieval {words[0]} has failed: {done.stderr[-2000:]}")


def _wait(port: int, process: subprocess.Popen[bytes], printed: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.5)
    raise RuntimeError(f"clip-retrieval's back end has not started: {printed.read_text()[-2000:]}")
