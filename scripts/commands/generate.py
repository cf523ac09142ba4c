"""`diantu generate`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ...datasets import InputError
from ...datasets.conditions import WHERE_SECONDS
from .common import print_json

if TYPE_CHECKING:
    from ...generation import Results
    from ...generation.run.plan import NoReference
    from ...generation.strategies.diffusion.options import Dtype, Offload

log = logging.getLogger(__name__)

_TEXT_TO_IMAGE = "text-to-image"
_CHAT_CACHE = Path("~/.cache/diantu/chat").expanduser()  # so that an endpoint reads the same copy only once


def run(
    prompts: str,
    output: str,
    strategy: list[str],
    gallery: str | None = None,
    model: str = "",
    revision: str | None = None,
    variant: str | None = None,
    pipeline: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    offload: str = "none",
    set: list[str] = [],  # noqa: B006 - read, never changed
    copy: bool = False,
    num_pictures: int = 1,
    negative_prompt: str = "",
    k: int | None = None,
    where: str | None = None,
    where_timeout: float = WHERE_SECONDS,
    diversity: float = 0.0,
    min_zscore: float | None = None,
    min_score: float | None = None,
    no_reference: str = "skip",
    rotate: float = 0.1,
    max_punsafe: float | None = 0.5,
    seed: int = 0,
    batch_size: int = 4,
    encoder: str | None = None,
    json: bool = False,
) -> int:
    """Makes pictures from prompts and references of a gallery. Run it again to continue where it stopped.

    Args:
        prompts: .txt (one prompt per line), .csv (one column per field) or .jsonl; its fields override the options
            below.
        output: the folder of the run: pictures, manifest.jsonl, index.html, sheet.png.
        strategy: text2img, img2img, ip_adapter, inpaint, edit, stylize, overlay, or a strategy of an installed package;
            if several are given, each works on the picture of the one before, as in stylize overlay.
        gallery: the folder of the gallery; not needed if every request names files, or no references are used.
        model: a diffusers repository or a local folder, for strategies that run a model.
        revision: branch, tag or commit of the repository.
        variant: of the weight files, for example fp16.
        pipeline: the class that the model must have, for example StableDiffusionXLPipeline.
        dtype: auto (half precision on GPUs), float32, bfloat16 or float16.
        device: where the model and the encoder of the gallery run: auto, cpu, cuda or cuda:<number>.
        offload: to save GPU memory, keep only a part of the model (model) or a layer (sequential) on the GPU; or none.
        set: settings of strategies, for example img2img.strength=0.5 overlay.position=left.
        copy: read the prompts as advertising copy in Chinese or English. Its keywords are searched for, the prompt for
            the model is made from them, and overlay draws the copy on the picture. DIANTU_CHAT_URL may name an endpoint
            that reads copy better than the built-in method.
        num_pictures: pictures per prompt.
        negative_prompt: what the model should avoid.
        k: references per picture, if the strategy takes several.
        where: a SQL condition that references must meet, for example "width >= 512 AND licence = 'CC0-1.0'".
        where_timeout: seconds that a condition may take for each million rows.
        diversity: 0 to 1; a higher value prefers references that differ from each other.
        min_zscore: references with a lower zscore are not used.
        min_score: references with a lower score are not used.
        no_reference: what happens to a picture without a reference that is good enough: skip, text-to-image, or fail to
            refuse the run.
        rotate: how far a reference may score below the best one so that other references are used too, as a share of
            the best score.
        max_punsafe: rows with a higher punsafe are not used as references, if the gallery has that column.
        seed: of the run; pictures whose request has no seed get theirs from it and their prompt.
        batch_size: pictures that are made together; halved if the memory is too small.
        encoder: the encoder of the gallery, if its weights are in another place than when the gallery was made.
        json: print machine-readable output on stdout.
    """
    from ...generation import Copywriter, ModelOptions, RunOptions, generate, load_strategies, read_requests
    from ...generation.copy.chat import Chat
    from ...search import Gallery

    requests = read_requests(
        prompts, num_pictures=num_pictures, negative_prompt=negative_prompt, k=k, where=where, diversity=diversity,
        min_zscore=min_zscore, min_score=min_score,
    )  # fmt: skip
    # These words are strings on the command line; RunOptions and ModelOptions check them.
    options = RunOptions(
        seed=seed, batch_size=batch_size, rotate=rotate, no_reference=cast("NoReference", no_reference),
        max_punsafe=max_punsafe, where_timeout=where_timeout,
    )  # fmt: skip
    loaded = ModelOptions(
        name=model, revision=revision, variant=variant, pipeline=pipeline, dtype=cast("Dtype", dtype), device=device,
        offload=cast("Offload", offload),
    )  # fmt: skip
    settings = _settings(set)
    chosen = load_strategies(strategy, settings, loaded)
    without = None
    if no_reference == _TEXT_TO_IMAGE and chosen.num_references[0] > 0:
        without = load_strategies(["text2img", *strategy[1:]], settings, loaded)
    opened = None if gallery is None else Gallery.open(gallery, encoder=encoder, device=device)
    results = generate(
        requests, output, chosen, gallery=opened, options=options, without_reference=without,
        copywriter=Copywriter(Chat.from_environment(cache=_CHAT_CACHE)) if copy else None, show_progress=True,
    )  # fmt: skip
    return _report(results, as_json=json)


def _settings(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Reads settings given as `strategy.field=value`: strategy → field → value."""
    from ...generation.fields import parse_setting

    found: dict[str, dict[str, Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"the setting {text!r} has no value; write it as img2img.strength=0.5")
        strategy, field, parsed = parse_setting(name, value)
        found.setdefault(strategy, {})[field] = parsed
    return found


def _report(results: Results, *, as_json: bool) -> int:
    for result in [result for result in results if result.status == "failed"][:3]:
        log.error("%s failed: %s", result.name, result.reason)
    log.info("page: %s", results.folder / "index.html")
    log.info("%s", results)
    if as_json:
        report = {
            "output": str(results.folder), "made": results.num_made, "before": results.num_before,
            "seconds": round(results.seconds, 3), **results.counts,
        }  # fmt: skip
        print_json(report)
    return 1 if results.counts.get("failed") else 0
