"""The commands that a fault campaign disturbs: what each needs, and what it leaves."""

from __future__ import annotations

import csv
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from galleries import SPEC, add_rows, keyed, new_gallery, unit, write_gallery
from pictures import jpeg, write_tar
from PIL import Image

from diantu.datasets import find_shards
from diantu.indexing.build.job import build_index
from diantu.indexing.embed import embed
from diantu.indexing.encoders import load_encoder
from diantu.indexing.index.report import IndexRequest
from diantu.indexing.upkeep.deletion import delete

_MODELS: dict[str, Path] = {}  # name → a tiny model, written once
WORK = "work"  # the name of the folder that a command works in
_LISTS = IndexRequest(factory="IVF4,Flat")
# What depends on the speed of the machine, or on what an earlier, interrupted run had done already.
_TIMES = {
    "index.json": ("build_seconds", "reason", "delivers", "tuning"),
    "manifest.jsonl": ("seconds",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A command and its input.

    Attributes:
        name: of the scenario.
        prepare: writes the input into a folder.
        options: the command line; `{work}` stands for that folder, `{clip}` and `{dinov2}` for tiny models.
        weight: how often it is drawn; 0 for scenarios that must be asked for.
        code: its exit code.
        sources: folders that hold what the command reads but does not own.
        has_foreign_output: whether stderr also has the messages of another program.
        reports: whether the command lists unreadable files on stdout, which is its work.
    """

    name: str
    prepare: Callable[[Path], object]
    options: tuple[str, ...]
    weight: float = 1.0
    code: int = 0
    sources: tuple[str, ...] = ()
    has_foreign_output: bool = False
    reports: bool = False

    def arguments(self, work: Path) -> list[str]:
        """The command line."""
        used = {name: _model(name) for name in ("clip", "dinov2") if any(f"{{{name}}}" in it for it in self.options)}
        return [option.format(work=work, **used) for option in self.options]

    def is_source(self, struck: str) -> bool:
        """Whether a fault met a file that the command reads but does not own."""
        return any(f"/{WORK}/{folder}" in struck for folder in self.sources)

    def may_fail_without_sentence(self, stderr: str) -> bool:
        """Whether the command has reported failures of its input in its own words."""
        said = ("shard left out: ", "part not completed: ", " failed: ") if self.sources else ()
        said += ("run the same command again to continue",) if self.has_foreign_output else ()
        return any(text in stderr for text in said) or self.reports


def contents(work: Path) -> Mapping[str, Any]:
    """All files of a folder but locks, with their bytes; of some files without what is not repeatable."""
    return {
        path.relative_to(work).as_posix(): _content(path)
        for path in sorted(work.rglob("*"))
        if path.is_file() and path.name not in ("gallery.lock", "deleted.lock", "run.lock", "lock")
    }


def _content(path: Path) -> Any:
    data = path.read_bytes()
    if path.suffix == ".html":
        return re.sub(rb"[\d.]+ (s|ms)</span>|&#34;seconds&#34;: [\d.]+", b"", data)
    if path.name == "hits.png":  # the time of the search is drawn on it
        with Image.open(path) as image:
            return image.convert("RGB").size
    if path.parent.name == "downloaded":
        return _downloaded(path)
    if path.name == "checksums.json":
        files = json.loads(data)["files"]
        return {name: None if _has_times(Path(name)) else checksum for name, checksum in files.items()}
    if path.name not in _TIMES:
        return data
    rows = [json.loads(line) for line in (data.splitlines() if path.suffix == ".jsonl" else [data])]
    for row in rows:
        for name in _TIMES[path.name]:
            row.pop(name, None)
        row.get("training", {}).pop("drift", None)
        row.pop("checksum", None)
    return rows


def _has_times(path: Path) -> bool:
    """Whether a file, and so its checksum, differs from run to run."""
    return path.name in _TIMES or path.suffix in (".html", ".png")


def _downloaded(path: Path) -> Any:
    """What img2dataset wrote: tars have times, and rows the order in which the images arrived."""
    if path.suffix == ".tar":
        with tarfile.open(path) as tar:
            return sorted((member.name, member.size) for member in tar)
    if path.suffix == ".parquet":
        return sorted(map(repr, pq.read_table(path).to_pylist()))
    return path.name  # statistics


def _model(name: str) -> Path:
    if name not in _MODELS:
        import tiny_models

        folder = Path(tempfile.mkdtemp(prefix="diantu-model-")) / name
        _MODELS[name] = getattr(tiny_models, f"save_{name}")(folder)
    return _MODELS[name]


def _shards(work: Path) -> None:
    for shard in range(2):
        members = []
        for image in range(5):
            members += [(f"{shard}-{image}.jpg", jpeg(10 * shard + image)), (f"{shard}-{image}.txt", b"a cat")]
        write_tar(work / "shards" / f"{shard:05d}.tar", [*members, ("broken.jpg", b"no picture")])


def _photos(work: Path) -> None:
    (work / "photos" / "more").mkdir(parents=True)
    names = [f"{image}.jpg" for image in range(4)] + ["more/4.jpg"]
    for image, name in enumerate(names):
        (work / "photos" / name).write_bytes(jpeg(image))
    with (work / "photos" / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "caption"), *((name, f"picture {name}") for name in names)])


def _embedded(work: Path) -> None:
    _shards(work)
    embed(find_shards([str(work / "shards")]), work / "gallery", load_encoder(f"hf:{_model('clip')}", device="cpu"))


def _vectors(work: Path) -> None:
    """A gallery of vectors with a second space, captions, deleted rows and an index that was trained on fewer rows."""
    write_gallery(work / "gallery", keyed(60, 60, 60), texts=True)
    build_index(work / "gallery", None, request=_LISTS)
    delete(work / "gallery", where="number % 7 = 3")


def _outgrown(work: Path) -> None:
    root = new_gallery(work / "gallery", SPEC.dim)
    add_rows(root, unit(0, 200))
    build_index(root, None, request=_LISTS)
    add_rows(root, unit(1, 50))


def _deleted(work: Path) -> None:
    _vectors(work)
    delete(work / "gallery", keys=["1-5"])


def _foreign(work: Path) -> None:
    """What clip-retrieval writes: one file of float16, one of float32 that must be converted."""
    for name in ("img_emb", "metadata"):
        (work / "source" / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, dtype in enumerate((np.float16, np.float32)):
        emb_ND = rng.standard_normal((30, 32)).astype(np.float32)
        emb_ND /= np.linalg.norm(emb_ND, axis=1, keepdims=True)
        np.save(work / "source" / "img_emb" / f"img_emb_{part}.npy", emb_ND.astype(dtype))
        table = pa.table({"image_path": [f"{part}/{row}.jpg" for row in range(30)], "caption": ["a cat"] * 30})
        pq.write_table(table, work / "source" / "metadata" / f"metadata_{part}.parquet")


def _prompts(work: Path) -> None:
    _photos(work)
    lines = [
        {"prompt": f"poster {i}", "headline": f"周末 {i}", "files": [str(work / "photos" / f"{i}.jpg")]}
        for i in range(3)
    ]
    (work / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _asked(work: Path) -> None:
    _embedded(work)
    (work / "prompts.txt").write_text("a cat\na dog\n")


def _table(work: Path) -> None:
    address = _served()
    urls = [f"{address}/{image}.jpg" for image in range(6)]
    pq.write_table(pa.table({"URL": urls, "TEXT": [f"picture {url[-5]}" for url in urls]}), work / "laion.parquet")


@cache
def _served() -> str:
    """The address of a server in this process whose pictures have numbers as names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = jpeg(int(self.path[1:2]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def _nothing(work: Path) -> None:
    del work


def _labelled(work: Path) -> None:
    _embedded(work)
    (work / "queries.jsonl").write_text(json.dumps({"text": "a cat", "where": "width > 1"}) + "\n")


_GALLERY = ("--gallery", "{work}/gallery")
_CLIP = ("--encoder", "hf:{clip}")
SCENARIOS = (
    Scenario(
        name="embed", prepare=_shards, sources=("shards",), weight=2,
        options=("embed", "--source", "{work}/shards", "--output", "{work}/gallery", *_CLIP, "--texts", "captions"),
    ),
    Scenario(
        name="embed-folder", prepare=_photos, sources=("photos",),
        options=("embed", "--source", "{work}/photos", "--output", "{work}/gallery", *_CLIP),
    ),
    Scenario(
        name="embed-space", prepare=_embedded, sources=("shards",),
        options=(
            "embed", "--source", "{work}/shards", "--output", "{work}/gallery", *_CLIP, "hf:{dinov2}",
        ),
    ),
    Scenario(
        name="import", prepare=_foreign,
        options=("import", "--source", "{work}/source", "--output", "{work}/gallery", *_CLIP),
    ),
    Scenario(name="index", prepare=_outgrown, options=("index", *_GALLERY, "--rebuild"), weight=1.5),
    Scenario(name="index-fold", prepare=_outgrown, options=("index", *_GALLERY), weight=1.5),
    Scenario(name="delete", prepare=_vectors, options=("delete", *_GALLERY, "--where", "number % 5 = 1")),
    Scenario(name="delete-keys", prepare=_vectors, options=("delete", *_GALLERY, "--keys", "1-5", "2-7")),
    Scenario(name="dedup", prepare=_vectors, options=("dedup", *_GALLERY, "--threshold", "0.5")),
    Scenario(name="compact", prepare=_deleted, options=("compact", *_GALLERY, "--output", "{work}/new"), weight=3),
    Scenario(
        name="evaluate", prepare=_labelled,
        options=("evaluate", *_GALLERY, "--queries", "{work}/queries.jsonl", "--json"),
    ),
    Scenario(
        name="generate", prepare=_prompts, sources=("photos",), weight=1.5,
        options=(
            "generate", "--prompts", "{work}/prompts.jsonl", "--output", "{work}/run", "--strategy", "overlay",
        ),
    ),
    Scenario(
        name="generate-gallery", prepare=_asked, sources=("shards",),
        options=(
            "generate", "--prompts", "{work}/prompts.txt", *_GALLERY, "--output", "{work}/run", "--copy",
            "--strategy", "overlay",
        ),
    ),
    Scenario(
        name="search-html", prepare=_embedded, sources=("shards",),
        options=("search", *_GALLERY, "--text", "a cat", "--where", "width > 1", "--sheet", "{work}/hits.html"),
    ),
    Scenario(
        name="search-png", prepare=_embedded, sources=("shards",),
        options=("search", *_GALLERY, "--text", "a cat", "--sheet", "{work}/hits.png"),
    ),
    Scenario(
        name="download", prepare=_table, has_foreign_output=True, weight=0.2,
        options=(
            "download", "--source", "{work}/laion.parquet", "--output", "{work}/downloaded",
            "--images-per-shard", "3", "--image-size", "32", "--num-processes", "1",
        ),
    ),
    Scenario(name="demo", prepare=_nothing, options=("demo", "--output", "{work}/demo"), weight=0),
    Scenario(name="status", prepare=_embedded, options=("status", *_GALLERY, "--verify", "--failures"), reports=True),
)  # fmt: skip
