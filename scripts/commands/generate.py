"""`diantu generate`."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...datasets import InputError

if TYPE_CHECKING:
    from ...generation import Results

log = logging.getLogger(__name__)

_TEXT_TO_IMAGE = "text-to-image"
_CHAT_CACHE = Path("~/.cache/diantu/chat").expanduser()  # an endpoint is asked once about the same copy


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
    """Makes pictures of prompts from references that a gallery has; run it again to go on where it stopped.

    Args:
        prompts: .txt (a prompt a line), .csv (a column a field) or .jsonl; its fields go before the options below.
        output: the run's folder: pictures, manifest.jsonl, index.html, sheet.png.
        strategy: img2img, ip_adapter, inpaint, edit, stylize, overlay or text2img; several work one after the other on
            the same picture, as stylize overlay.
        gallery: the gallery's folder; not needed where every request names files, or no references are used.
        model: a repository of diffusers or a local folder, for strategies that run one.
        revision: branch, tag or commit of the repository.
        variant: of the weights' files, say fp16.
        pipeline: the class that the model must be, say StableDiffusionXLPipeline.
        dtype: auto (half precision on GPUs), float32, bfloat16 or float16.
        device: where the model and the gallery's encoder run: auto, cpu, cuda or cuda:<number>.
        offload: to save GPU memory, keep only a part of the model there (model) or a layer (sequential); or none.
        set: settings of strategies, as img2img.strength=0.5 overlay.position=left.
        copy: the prompts are advertising copy, in Chinese or English: what it is about is searched for and drawn, and
            overlay sets it on the picture. DIANTU_CHAT_URL names an endpoint that reads copy better than is done here.
        num_pictures: pictures a prompt.
        negative_prompt: what is to be avoided.
        k: references a picture, where the strategy takes several.
        where: a SQL condition that references meet, as "width >= 512 AND licence = 'CC0-1.0'".
        diversity: from 0 to 1, how much references of one picture are to differ.
        min_zscore: references below this zscore are not good enough.
        min_score: references below this score are not good enough.
        no_reference: what becomes of a picture without a reference good enough: skip, text-to-image, or fail to refuse
            the run.
        rotate: how much worse than the best, as a share of its score, a reference may be so that others are used, too.
        max_punsafe: rows with a higher punsafe are no references, where the gallery has that column.
        seed: of the run; pictures whose request has no seed get theirs from it and their prompt.
        batch_size: pictures that are made together; halved where the memory is too small.
        encoder: the gallery's encoder, if its weights lie elsewhere than when the gallery was made.
        json: machine-readable, on stdout.
    """
    from ...generation import Copywriter, ModelOptions, RunOptions, generate, load_strategies, read_requests
    from ...generation.copy.chat import Chat
    from ...search import Gallery

    requests = read_requests(
        prompts, num_pictures=num_pictures, negative_prompt=negative_prompt, k=k, where=where, diversity=diversity,
        min_zscore=min_zscore, min_score=min_score,
    )  # fmt: skip
    options = RunOptions(
        seed=seed, batch_size=batch_size, rotate=rotate, no_reference=no_reference, max_punsafe=max_punsafe
    )
    loaded = ModelOptions(
        name=model, revision=revision, variant=variant, pipeline=pipeline, dtype=dtype, device=device, offload=offload
    )
    settings = _settings(set)
    maker = load_strategies(strategy, settings, loaded)
    without = None
    if no_reference == _TEXT_TO_IMAGE and maker.num_references[0] > 0:
        without = load_strategies(["text2img", *strategy[1:]], settings, loaded)
    opened = None if gallery is None else Gallery.open(gallery, encoder=encoder, device=device)
    results = generate(
        requests, output, maker, gallery=opened, options=options, without_reference=without,
        copywriter=Copywriter(Chat.from_environment(cache=_CHAT_CACHE)) if copy else None, show_progress=True,
    )  # fmt: skip
    return _report(results, as_json=json)


def _settings(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`strategy.field=value …` → strategy → field → value."""
    from ...generation.requests import parse_setting

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
        print(json.dumps(report))
    return 1 if results.counts.get("failed") else 0
