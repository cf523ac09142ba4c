"""Measures the page in Chromium: how soon hits are there after typing, and how smoothly 2 000 hits scroll.

    python -m diantu.scripts.bench_page --output bench

The gallery has the synthetic vectors of the other benchmarks, and each row one of the bundled photographs; it is
written once and kept. A long task is what the browser calls so: more than 50 ms in which nothing else happens.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets import photos
from ..datasets.errors import InputError
from ..datasets.types import Shard
from ..indexing.build.job import build_index
from ..indexing.build.request import IndexRequest
from ..indexing.index.report import read_report
from ..indexing.store.parts import write_part
from ..indexing.store.records import read_part
from ..indexing.store.snapshot import Snapshot
from .bench.generator import Generator, Recipe
from .bench.vectors import NUM_TUNING, TUNING_BLOCK, bench_manifest
from .main import call

_PART_ROWS = 10_000
_HITS = 2000
_LATENCY, _LONGEST = 500, 100  # milliseconds: the targets
_TEXTS = ("castle", "a red car", "mountain lake", "山水", "cat on a table", "bridge over a river", "snow", "old town")

# Types a text, and waits until the first image of its hits is in the document.
_TYPE = """(text) => new Promise((resolve) => {
  const input = document.getElementById("text"), grid = document.getElementById("grid");
  let keyed = 0;
  const watch = new MutationObserver(() => {
    if (grid.getAttribute("aria-busy") !== "false" || !grid.querySelector(".tile img")) return;
    if (!location.search.includes(new URLSearchParams({ q: text }).toString())) return;
    watch.disconnect();
    requestAnimationFrame(() => resolve(performance.now() - keyed));
  });
  watch.observe(grid, { childList: true, attributes: true });
  input.focus();
  input.value = text;
  keyed = performance.now();
  input.dispatchEvent(new InputEvent("input", { bubbles: true }));
})"""
# Scrolls 150 pixels a frame, as a fast hand does, until so many hits were in view.
_SCROLL = """(count) => new Promise((resolve) => {
  const tasks = [];
  let most = 0, frames = 0, shift = 0;
  const observe = (type, take) => new PerformanceObserver((list) => list.getEntries().forEach(take)).observe({ type });
  observe("longtask", (task) => tasks.push(task.duration));
  observe("layout-shift", (moved) => (shift += moved.value));
  const began = performance.now();
  const step = () => {
    scrollBy(0, 150);
    frames++;
    const tiles = document.querySelectorAll(".tile");
    most = Math.max(most, tiles.length);
    const last = Math.max(0, ...[...tiles].map((tile) => Number(tile.dataset.index ?? 0)));
    if (last < count) requestAnimationFrame(step);
    else setTimeout(() => resolve({ tasks, most, shift, frames, seconds: (performance.now() - began) / 1000 }), 300);
  };
  requestAnimationFrame(step);
})"""


def run(output: str, rows: int = 1_000_000) -> int:
    """Measures the page of a service in Chromium.

    Args:
        output: a folder for the gallery, which is kept.
        rows: rows of the gallery.
    """
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise InputError(
            "bench_page needs Chromium, which is not installed; install it, for example: apt install chromium"
        )
    gallery = write_gallery(Path(output) / f"page-{rows}", rows)
    command = [sys.executable, "-m", "diantu.scripts.bench.service", str(gallery)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        assert service.stdin is not None
        try:
            url = service.stdout.readline().strip()
            if not url:
                raise InputError("the service has not started; its error is above")
            typed, scrolled = asyncio.run(_measure(chromium, url))
        finally:
            service.stdin.close()
    _report(rows, typed, scrolled)
    return 0


def write_gallery(folder: Path, num_rows: int) -> Path:
    """Writes and indexes a gallery of synthetic vectors whose rows share the photographs; parts that exist are kept.

    Returns:
        The gallery's folder.
    """
    gallery, shards = folder / "gallery", photos.pack(folder / "shards", num_shards=1)
    facts = photos.rows()
    with tarfile.open(shards[0]) as tar:
        images = [
            {
                "shard": str(shards[0].resolve()), "offset": member.offset_data, "length": member.size,
                "image_path": member.name, "width": int(facts[member.name]["width"]),
                "height": int(facts[member.name]["height"]),
            }
            for member in tar if member.name.endswith(".jpg")
        ]  # fmt: skip
    recipe = Recipe()
    manifest, generator = bench_manifest(recipe.dim), Generator(recipe)
    for number, low in enumerate(range(0, num_rows, _PART_ROWS)):
        if read_part(gallery, number) is not None:
            continue
        count = min(_PART_ROWS, num_rows - low)
        emb_ND = generator.images(count, number)
        records: list[dict[str, Any]] = [
            {"key": f"{row:09d}", "caption": f"image {row}", **images[row * 7919 % len(images)]}
            for row in range(low, low + count)
        ]
        shard = Shard(uri=f"/bench/{number:05d}.tar", format="webdataset", size_bytes=0)
        write_part(gallery, number, shard, fingerprint=manifest.spec.fingerprint, emb_ND=emb_ND, records=records)
    manifest.with_committed(gallery).save(gallery)
    if read_report(Snapshot.read(gallery)) is None:
        np.save(folder / "tuning.npy", generator.texts(NUM_TUNING, TUNING_BLOCK))
        build_index(gallery, None, request=IndexRequest(target_recall=0.95, tune_queries=folder / "tuning.npy"))
    return gallery


async def _measure(chromium: str, url: str) -> tuple[list[tuple[float, float]], dict[str, Any]]:
    """Milliseconds after typing with those of the encoder in them, and what scrolling cost."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        await page.goto(url)
        await page.wait_for_selector(".tile.loaded")
        typed = []
        for text in _TEXTS:
            async with page.expect_response("**/v1/search") as answer:
                milliseconds = await page.evaluate(_TYPE, text)
            explain = (await (await answer.value).json())["explain"]
            typed.append((milliseconds, explain["ms"]["encode"]))
        scrolled = await page.evaluate(_SCROLL, _HITS)
        await browser.close()
    return typed, scrolled


def _report(num_rows: int, typed: list[tuple[float, float]], scrolled: dict[str, Any]) -> None:
    beyond = statistics.median(milliseconds - encode for milliseconds, encode in typed[1:])  # the first warms up
    longest = max(scrolled["tasks"], default=0)
    print(f"first hits of {num_rows} rows, beyond the encoder: {beyond:.0f} ms (target ≤ {_LATENCY} ms)")
    print(f"longest task while {_HITS} hits scroll: {longest:.0f} ms (target ≤ {_LONGEST} ms)")
    rate = scrolled["frames"] / scrolled["seconds"]
    print(f"long tasks (over 50 ms): {len(scrolled['tasks'])}; frames a second: {rate:.0f}")
    print(f"tiles in the document: at most {scrolled['most']}; layout shift: {scrolled['shift']:.3f}")


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_page", sys.argv[1:]))
