"""How long the vector of one query text takes on the CPU: in fp32, in bf16, and kept from the last time.

    python -m diantu.scripts.bench_text
    python -m diantu.scripts.bench_text --encoder hf:FOLDER

Without an encoder it measures a text tower of the size of CLIP ViT-B/32 (12 layers, 512 wide) with random weights,
whose tokens are the characters of the text: speed does not depend on what the weights are. Every text is new for both
precisions, which take turns; then the same text is asked for again, as a search does that changes only its filter.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.errors import InputError
from ..indexing.encoders import EncoderSpec, Precision, TextEncoder, load_encoder
from ..search.encode import Encoders
from .commands.common import print_json
from .main import call

_WORDS = ("red", "panda", "windmill", "sea", "bridge", "night", "old", "castle", "green", "hammer", "city", "rain")
_WARM_UP = 5


def run(encoder: str | None = None, texts: int = 100, seed: int = 0, json_: bool = False) -> int:
    """Measures the median time of one query text, in CPU time and in wall time.

    Args:
        encoder: an encoder with a text side; by default a tower of CLIP's size with random weights.
        texts: number of texts of 3 to 6 words.
        seed: of the texts.
        json_: print the results as JSON on stdout.
    """
    rng = np.random.default_rng(seed)
    asked = [f"{' '.join(rng.choice(_WORDS, rng.integers(3, 7)))} {number}" for number in range(texts + _WARM_UP)]
    facts = measure(encoder, asked)
    if json_:
        print_json(facts)
        return 0
    print(f"{facts['encoder']}, {facts['threads']} threads, {texts} texts, worst cosine {facts['cosine']:.6f}\n")
    print(f"{'':6}{'p50 wall':>12}{'p50 CPU':>12}{'of fp32':>10}")
    for name in ("fp32", "bf16", "kept"):
        one = facts[name]
        print(f"{name:<6}{one['wall_ms']:>9.3f} ms{one['cpu_ms']:>9.3f} ms{one['cpu_of_fp32']:>9.4f}×")
    return 0


def measure(encoder: str | None, texts: list[str]) -> dict[str, Any]:
    """The median times in milliseconds, and the worst cosine between the two precisions, as JSON values."""
    import torch

    loaded = {precision: _loaded(encoder, precision) for precision in ("fp32", "bf16")}
    spec = loaded["fp32"].spec
    galleries = {
        name: Encoders(Path(), {spec.fingerprint: one}, "cpu")  # type: ignore[dict-item]
        for name, one in loaded.items()
    }
    times: dict[str, list[tuple[float, float]]] = {"fp32": [], "bf16": [], "kept": []}
    cosines = []
    for number, text in enumerate(texts):
        found = {}
        for name, source in (("fp32", "fp32"), ("bf16", "bf16"), ("kept", "bf16")):
            found[name], taken = _timed(lambda at=source, text=text: galleries[at].encode_texts(spec, [text])[0])
            if number >= _WARM_UP:
                times[name].append(taken)
        cosines.append(float(found["fp32"] @ found["bf16"]))
    facts: dict[str, Any] = {"encoder": spec.name, "threads": torch.get_num_threads(), "cosine": min(cosines)}
    for name, taken in times.items():
        wall, cpu = (1000 * statistics.median(column) for column in zip(*taken, strict=True))
        facts[name] = {"wall_ms": round(wall, 4), "cpu_ms": round(cpu, 4)}
    for name in times:
        facts[name]["cpu_of_fp32"] = round(facts[name]["cpu_ms"] / facts["fp32"]["cpu_ms"], 4)
    return facts


def _timed(function: Callable[[], np.ndarray]) -> tuple[np.ndarray, tuple[float, float]]:
    """What a function returns, and the seconds of wall time and of CPU time that it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = function()
    return found, (time.perf_counter() - wall, time.process_time() - cpu)


def _loaded(name: str | None, precision: Precision) -> TextEncoder:
    if name is None:
        return _random_tower(precision)
    encoder = load_encoder(name, device="cpu", precision=precision, runtime="torch")
    if not isinstance(encoder, TextEncoder):
        raise InputError(f"the encoder {name} has no text side; give another one")
    return encoder


def _random_tower(precision: Precision) -> TextEncoder:
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    from ..indexing.encoders.torch_encoder import TorchDualEncoder, resolve_dtype

    device = torch.device("cpu")
    torch.manual_seed(0)
    dtype = resolve_dtype(precision, device)
    model: Any = CLIPTextModelWithProjection(CLIPTextConfig())
    model.eval().to(dtype)

    def text_features(texts: list[str]) -> torch.Tensor:
        ids_BT = torch.tensor([[*map(ord, text[:75]), 49407] for text in texts])
        return model(input_ids=ids_BT).text_embeds

    spec = EncoderSpec(name="random:CLIP-text-tower", dim=512, image_size=224, text_context=77)
    return TorchDualEncoder(spec, lambda pixels: pixels, text_features, device=device, dtype=dtype)


if __name__ == "__main__":
    sys.exit(call(run, "python -m diantu.scripts.bench_text", sys.argv[1:]))
