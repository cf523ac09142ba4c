"""Models of diffusers that strangers made: what they name is not imported, and one sentence says why."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from diantu.datasets import InputError
from diantu.generation.strategies.diffusion.loading import _check_components, check_index
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
        _check_components(tmp_path, OPTIONS)


def test_a_segmenter_runs_no_code_and_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    settings = {"model_type": "evil", "auto_map": {"AutoConfig": "evil.C"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "evil.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'was here')!r}).touch()")
    with pytest.raises(InputError, match=r"segmenter .* cannot be loaded"):
        Segmenter(str(tmp_path), device="cpu")
    assert not (tmp_path / "was here").exists()
    assert sys.stdin.read() == "y\n" * 9
