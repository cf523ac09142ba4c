"""Models by name or folder: which strategies they run, and the messages if they cannot."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from drafts import distance, draft, load, pixels

from diantu.datasets import InputError
from diantu.generation.strategies import ModelOptions, check_model, load_strategies


def described(**options: Any) -> dict[str, Any]:
    return load_strategies(["img2img"], {}, ModelOptions(**options)).describe()


@pytest.mark.parametrize(
    ("pipeline", "strategy", "runs"),
    [
        ("StableDiffusionPipeline", "img2img", "StableDiffusionImg2ImgPipeline"),
        ("StableDiffusionPipeline", "text2img", "StableDiffusionPipeline"),
        ("StableDiffusionInpaintPipeline", "inpaint", "StableDiffusionInpaintPipeline"),
        ("StableDiffusionXLPipeline", "img2img", "StableDiffusionXLImg2ImgPipeline"),
        ("StableDiffusionXLPipeline", "ip_adapter", "StableDiffusionXLPipeline"),
        ("StableDiffusion3Pipeline", "img2img", "StableDiffusion3Img2ImgPipeline"),
        ("FluxPipeline", "inpaint", "FluxInpaintPipeline"),
        ("ZImagePipeline", "img2img", "ZImageImg2ImgPipeline"),
        ("Flux2KleinPipeline", "edit", "Flux2KleinPipeline"),
        ("QwenImageEditPlusPipeline", "edit", "QwenImageEditPlusPipeline"),
    ],
)
def test_the_class_is_found_without_weights_or_network(pipeline: str, strategy: str, runs: str) -> None:
    assert check_model(ModelOptions(name="some/model", pipeline=pipeline), strategy) == runs


@pytest.mark.parametrize(
    ("pipeline", "strategy", "says"),
    [
        ("MagicPipeline", "img2img", "is a MagicPipeline, which the installed diffusers .* does not have"),
        ("Flux2KleinPipeline", "img2img", "runs as Flux2KleinPipeline, which takes no 'strength'"),
        ("PixArtSigmaPipeline", "img2img", "does not do 'img2img'"),
        ("StableDiffusionPipeline", "edit", "give one of: Flux2KleinPipeline"),
        ("FluxPipeline", "ip_adapter", "has no UNet"),
        ("ZImagePipeline", "ip_adapter", "takes no 'ip_adapter_image_embeds'"),
        ("StableDiffusionPipeline", "overlay", "'overlay' runs no diffusers model; those that do: text2img"),
    ],
)
def test_models_that_cannot_run_a_strategy(pipeline: str, strategy: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_model(ModelOptions(name="some/model", pipeline=pipeline), strategy)


def test_a_folder_is_checked_by_its_index(tiny_sd: Path) -> None:
    assert check_model(ModelOptions(name=str(tiny_sd)), "inpaint") == "StableDiffusionInpaintPipeline"
    with pytest.raises(InputError, match="is a StableDiffusionPipeline, not a StableDiffusionXLPipeline"):
        described(name=str(tiny_sd), pipeline="StableDiffusionXLPipeline")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "./nowhere"}, "'./nowhere' is neither a folder nor the name of a repository"),
        ({"name": "/no/where"}, "'/no/where' is neither a folder"),
        ({"name": "no-one/nothing"}, "the model_index.json of model 'no-one/nothing' cannot be read"),
        ({"name": ""}, "no model is given"),
        ({"dtype": "float8"}, "dtype is 'float8'; give one of: auto, float32, bfloat16, float16"),
        ({"offload": "disk"}, "offload is 'disk'; give one of: none, model, sequential"),
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
        ({"offload": "model", "device": "cpu"}, "offload='model' needs a GPU"),
    ],
)
def test_options_that_cannot_be_used(tiny_sd: Path, options: dict[str, str], says: str) -> None:
    with pytest.raises(InputError) as caught:
        described(**({"name": str(tiny_sd)} | options))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("named", [["pipeline", "Evil"], None])
def test_code_that_comes_with_a_model_is_not_run(tiny_sd: Path, tmp_path: Path, named: object) -> None:
    folder = shutil.copytree(tiny_sd, tmp_path / "model")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": named}))
    (folder / "pipeline.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(InputError, match="names no diffusers class"):
        described(name=str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_weights_that_are_pickled_are_refused(tiny_sd: Path, tmp_path: Path, part: str) -> None:
    import torch
    from safetensors.torch import load_file

    folder = shutil.copytree(tiny_sd, tmp_path / "model")
    (weights,) = (folder / part).glob("*.safetensors")
    pickled = {"model.safetensors": "pytorch_model.bin"}.get(weights.name, "diffusion_pytorch_model.bin")
    torch.save(load_file(weights), weights.with_name(pickled))
    weights.unlink()
    with pytest.raises(InputError, match=f"^{part} of model .* has no weights as safetensors"):
        described(name=str(folder))


def test_a_broken_weight_file(tiny_sd: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_sd, tmp_path / "model")
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="its weight files have 1000 bytes; they do not belong together"):
        described(name=str(folder))
    weights.write_bytes(bytes(1 << 20))
    with pytest.raises(InputError, match="cannot be loaded"):
        described(name=str(folder))


def test_the_revision_of_a_folder_is_its_content(tiny_sd: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_sd, tmp_path / "model")
    revision = described(name=str(tiny_sd))["revision"]
    assert described(name=str(copy))["revision"] == revision
    (weights,) = (copy / "unet").glob("*.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert described(name=str(copy))["revision"] != revision


def test_the_revision_of_a_repository_is_its_commit(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uses the hub cache as a download leaves it, and no network."""
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--some--model"
    shutil.copytree(tiny_sd, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    strategy = load("img2img", "some/model")
    facts = strategy.describe()
    assert facts["model"] == "some/model"
    assert facts["revision"] == commit
    assert distance(strategy.make([draft()])[0], load("img2img", tiny_sd).make([draft()])[0]) == 0


def test_half_precision(tiny_sd: Path) -> None:
    full, half = (
        load_strategies(
            ["img2img"], {"img2img": {"steps": 2}}, ModelOptions(name=str(tiny_sd), device="cpu", dtype=dtype)
        )
        for dtype in ("auto", "bfloat16")
    )
    assert full.describe()["dtype"] == "float32"
    assert half.describe()["dtype"] == "bfloat16"
    one, other = full.make([draft()])[0], half.make([draft()])[0]
    assert abs(pixels(one) - pixels(other)).mean() < 20  # the same noise gives a similar image


def test_equal_options_share_a_model_while_it_is_in_use(tiny_sd: Path) -> None:
    strategy = load("img2img", tiny_sd)
    assert load("inpaint", tiny_sd).model is strategy.model
    other = load_strategies(["img2img"], {}, ModelOptions(name=str(tiny_sd), dtype="bfloat16"))
    assert other.model is not strategy.model


def test_the_message_about_a_missing_package_has_the_pip_command(
    tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "diffusers" else find_spec(name))
    with pytest.raises(InputError, match=r"'img2img' needs diffusers.*pip install \"diantu\[generate\]\""):
        described(
            name=str(tiny_sd), device="cpu"
        )  # options that no other test uses, because its model could still be loaded


def test_a_model_for_inpainting_only(tiny_inpaint: Path) -> None:
    for strategy in ("text2img", "img2img"):
        with pytest.raises(InputError, match=f"made for inpainting only: .* 9 channels.* model for '{strategy}'"):
            load(strategy, tiny_inpaint).describe()


def test_pipelines_over_the_same_weights_keep_their_precision(tiny_sd: Path) -> None:
    """`from_pipe` of the pipeline classes would convert the shared weights to float32."""
    options = ModelOptions(name=str(tiny_sd), dtype="bfloat16")
    image, text = (load_strategies([name], {name: {"steps": 2}}, options) for name in ("img2img", "text2img"))
    (before,) = image.make([draft()])
    text.make([draft(references=0)])
    assert distance(before, image.make([draft()])[0]) == 0
    assert str(text.model.pipeline(text.task).unet.dtype) == "torch.bfloat16"
