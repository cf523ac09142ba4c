"""Speed of a run compared with its model alone: references, PNG files, manifest and pages must cost little.

    python -m diantu.scripts.bench_generate --output FOLDER --model MODEL [--batch-sizes 1 4 16] [--pictures 64]

Both generate the same pictures from the bundled photographs with img2img, in batches of the same size and shape. The
one is the strategy's `make` on drafts in memory; the other is a run from its plan to its last file, without the pages.
They take turns, so that a slow minute of the machine affects both; medians of the ratios are printed.
"""

from __future__ import annotations

import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from PIL import Image

from ..datasets import photos
from ..generation import Draft, GenerationRequest, ModelOptions, RunOptions, Strategy, generate, load_strategies
from .bench.table import Line, print_targets
from .commands.common import print_json
from .main import call

if TYPE_CHECKING:
    from ..generation.strategies.diffusion.options import Dtype

_TARGET = 0.9
_PROMPT = "a photograph at sunset"


def run(
    output: str,
    model: str,
    batch_sizes: list[str] = ["1", "4", "16"],  # noqa: B006 - read, never changed
    pictures: int = 64,
    size: int = 512,
    steps: int = 2,
    strength: float = 0.5,
    repeats: int = 3,
    dtype: str = "auto",
    device: str = "auto",
    json_: bool = False,
) -> int:
    """Measures runs and the model alone, and prints the ratio of their pictures per second.

    Args:
        output: a folder for the runs, which are removed afterwards.
        model: a repository of diffusers or a local folder.
        batch_sizes: numbers of pictures per batch; each is measured.
        pictures: number of pictures, at most 184.
        size: width and height in pixels.
        steps: number of denoising steps.
        strength: the share of the steps that is done, from 0 to 1.
        repeats: how often each is measured; medians are printed.
        dtype: auto, float32, bfloat16 or float16.
        device: where the model runs: auto, cpu, cuda or cuda:<number>.
        json_: print the results as JSON on stdout.
    """
    settings = {"img2img": {"steps": steps, "strength": strength, "width": size, "height": size, "guidance": 0}}
    maker = load_strategies(["img2img"], settings, ModelOptions(name=model, dtype=cast("Dtype", dtype), device=device))
    files = [str(photos.FOLDER / name) for name in sorted(photos.rows())[:pictures]]
    found = [_measured(Path(output), maker, files, int(batch_size), repeats) for batch_size in batch_sizes]
    if json_:
        print_json({"model": maker.describe(), "pictures": len(files), "size": size, "batches": found})
        return 0
    described = maker.describe()
    print(f"{model} on {described['device']} in {described['dtype']}, {len(files)} pictures of {size} × {size}\n")
    print_targets([_line(facts) for facts in found])
    return 0


def _measured(root: Path, maker: Strategy, files: Sequence[str], batch_size: int, repeats: int) -> dict[str, Any]:
    requests = [GenerationRequest(prompt=_PROMPT, files=[file], seed=seed) for seed, file in enumerate(files)]
    drafts = [
        Draft(name=str(seed), prompt=_PROMPT, seed=seed, references=(_opened(file),)) for seed, file in enumerate(files)
    ]
    maker.make(drafts[:batch_size])  # what only the first call must prepare is not measured
    alone, whole = [], []
    for _ in range(repeats):
        started = time.perf_counter()
        for first in range(0, len(drafts), batch_size):
            maker.make(drafts[first : first + batch_size])
        alone.append(len(files) / (time.perf_counter() - started))
        folder = root / f"batches-of-{batch_size}"
        shutil.rmtree(folder, ignore_errors=True)
        results = generate(requests, folder, maker, options=RunOptions(batch_size=batch_size))
        assert results.counts == {"done": len(files)}, results.counts
        whole.append(len(files) / results.seconds)
        shutil.rmtree(folder)
    ratios = [of_run / of_model for of_run, of_model in zip(whole, alone, strict=True)]
    return {
        "batch_size": batch_size, "model": statistics.median(alone), "run": statistics.median(whole),
        "ratio": statistics.median(ratios), "ratios": ratios,
    }  # fmt: skip


def _opened(file: str) -> Image.Image:
    with Image.open(file) as image:
        return image.convert("RGB")


def _line(facts: dict[str, Any]) -> Line:
    return Line(
        what=f"batches of {facts['batch_size']}",
        value=f"{facts['run']:.2f} pictures/s, the model alone {facts['model']:.2f}: {facts['ratio']:.3f}",
        target=f"≥ {_TARGET}",
        met=facts["ratio"] >= _TARGET,
    )


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_generate", sys.argv[1:]))
