"""Models of diffusers that strangers made: what they name is not imported, and one sentence says why."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from drafts import load
from safetensors.torch import load_file, save_file

from diantu.datasets import InputError
from diantu.generation.strategies.diffusion.components import check_components, check_index
from diantu.generation.strategies.diffusion.options import ModelOptions
from diantu.generation.strategies.diffusion.segmenting import Segmenter

OPTIONS = ModelOptions(name="theirs")


@pytest.mark.parametrize(
    "value", [["evil", "M"], ["os", "system"], ["__main__", "x"], ["a"], [1, 2], ["", ""], ["a", "b", "c"]]
)
def test_only_classes_of_known_libraries_are_imported(value: list[Any]) -> None:
    with pytest.raises(InputError, match=r"names .* for unet, .* does not run code that comes with a model"):
        check_index({"_class_name": "StableDiffusionPipeline", "unet": value}, OPTIONS)


def test_an_index_of_known_classes_passes() -> None:
    index = {
        "_class_name": "A", "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"], "feature_extractor": [None, None],
        "force_zeros": True,
    }  # fmt: skip
    check_index(index, OPTIONS)


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.M"}}, "Python code of its own"),
        ("config.json", {"_attn_implementation": "a/b"}, "a kernel that is not part of torch"),
        ("adapter_config.json", {"base_model_name_or_path": "a/b"}, "is an adapter"),
    ],
)
def test_a_part_of_a_pipeline_asks_for_tensors_only(
    tmp_path: Path, file: str, settings: dict[str, Any], message: str
) -> None:
    (tmp_path / "model_index.json").write_text(json.dumps({"text_encoder": ["transformers", "AutoModel"]}))
    (tmp_path / "text_encoder").mkdir()
    (tmp_path / "text_encoder" / file).write_text(json.dumps(settings))
    with pytest.raises(InputError, match=f"text_encoder of model 'theirs'.*{message}"):
        check_components(tmp_path, OPTIONS)


def test_a_segmenter_runs_no_code_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    settings = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "evil.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'was here')!r}).touch()")
    with pytest.raises(InputError, match=r"segmenter .* cannot be loaded"):
        Segmenter(str(tmp_path), device="cpu")
    assert not (tmp_path / "was here").exists()
    assert sys.stdin.read() == "y\n" * 9


def edited(folder: Path, file: str, **settings: Any) -> None:
    path = folder / file
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def changed(folder: Path, file: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file)


def not_finite(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values())).fill_(float("nan"))


UNET = "unet/diffusion_pytorch_model.safetensors"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "weights that are no numbers": (lambda root: changed(root, UNET, not_finite), "unet .* not finite"),
    "weights that are missing": (lambda root: changed(root, UNET, dict.popitem), "unet .* lacks weights"),
    "a size for no memory": (
        lambda root: edited(root, "unet/config.json", block_out_channels=[40_000, 80_000]),
        "unet .* parameters by its config.json, and its weight files have",
    ),
    "weights as a pickle": (
        lambda root: (root / UNET).rename(root / "unet/diffusion_pytorch_model.bin"), "unet .* no weights as safetens",
    ),
    "a million layers": (
        lambda root: edited(root, "text_encoder/config.json", num_hidden_layers=10**6), "num_hidden_layers 1000000",
    ),
    "a schedule for no memory": (
        lambda root: edited(root, "scheduler/scheduler_config.json", num_train_timesteps=10**9), "num_train_timesteps",
    ),
    "a part that is missing": (lambda root: shutil.rmtree(root / "tokenizer"), "lacks the folder tokenizer"),
    "a pipe": (lambda root: os.mkfifo(root / "stray.json"), "is not a regular file"),
    "a deep index": (lambda root: (root / "model_index.json").write_text("[" * 100_000), "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_model_that_cannot_work_is_refused_before_the_first_picture(case: str, tiny_sd: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_sd, tmp_path / "model")
    break_it, message = BROKEN[case]
    break_it(root)
    with pytest.raises(InputError, match=message):
        load("text2img", root).describe()


def test_an_adapter_with_weights_that_are_no_numbers_is_refused(
    tiny_sd: Path, tiny_ip_adapter: Path, tmp_path: Path
) -> None:
    for number, file in enumerate(("models/tiny.safetensors", "models/image_encoder/model.safetensors")):
        root = shutil.copytree(tiny_ip_adapter, tmp_path / str(number))
        changed(root, file, not_finite)
        strategy = load("ip_adapter", tiny_sd, adapter=str(root), weight_names=["tiny.safetensors"])
        with pytest.raises(InputError, match=f"adapter '{root}' has weights that are not finite"):
            strategy.describe()
