"""Images that come out black, as NaN, or blanked by the safety checker of the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from drafts import draft, pixels
from tiny_pipelines import save_sd, vae_of
from transformers import CLIPConfig, CLIPImageProcessor

from diantu.generation.strategies import ModelOptions, Strategy, load_strategies


def strategy_over(folder: Path, dtype: str) -> Strategy:
    return load_strategies(["img2img"], {"img2img": {"steps": 2}}, ModelOptions(name=str(folder), dtype=dtype))


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Returns a function that saves a pipeline with a changed VAE decoder."""

    def save(change: Callable[[Any], None], **components: Any) -> Path:
        vae = vae_of(seed=0)
        with torch.no_grad():
            change(vae.decoder)
        return save_sd(tmp_path / "changed", vae=vae, **components)

    return save


def overflow(decoder: Any) -> None:
    """Makes the first layer exceed the range of float16; the norm after it brings the values back."""
    decoder.conv_in.weight *= 1e5


def not_a_number(decoder: Any) -> None:
    decoder.conv_norm_out.weight.fill_(3e38)  # finite, but sums of what it scales are not


def black(decoder: Any) -> None:
    decoder.conv_out.weight.zero_()
    decoder.conv_out.bias.fill_(-5)


def test_images_that_overflow_in_float16_are_made_in_float32(saved, caplog: pytest.LogCaptureFixture) -> None:
    strategy = strategy_over(saved(overflow), "float16")
    assert strategy.describe()["dtype"] == "float16"
    for _ in range(2):  # afterwards the model is in float16 again
        for made in strategy.make([draft(0), draft(1)]):
            assert pixels(made).std() > 10
            assert made.facts["retried"] == {"dtype": "float32", "because": "has values that are not numbers"}
    assert strategy.model.pipeline(strategy.task).vae.dtype == torch.float16
    assert "draft-1: the image has values that are not numbers in torch.float16; diantu tries again" in caplog.text


def test_only_broken_pictures_are_made_again(tiny_sd: Path) -> None:
    made = strategy_over(tiny_sd, "float16").make([draft(0), draft(1)])
    assert all(pixels(each).std() > 10 and "retried" not in each.facts for each in made)


@pytest.mark.parametrize(
    ("change", "says"),
    [(not_a_number, "draft-0: the image has values that are not numbers"), (black, "has the same colour everywhere")],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_images_that_stay_broken_are_a_problem(saved, change, says: str, dtype: str) -> None:
    (made,) = strategy_over(saved(change), dtype).make([draft()])
    assert made.image is None
    assert says in made.problem
    assert ("retried" in made.facts) == (dtype == "bfloat16")
    assert made.facts["seed"] == 0


def test_images_that_the_safety_checker_of_the_model_blanks(saved) -> None:
    """The checker returns them black, and a higher precision would not help."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(vision_config={**vision, "image_size": 32, "patch_size": 16}, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(-9.0)  # every image is closer to every concept than this
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    folder = saved(lambda decoder: None, safety_checker=checker, feature_extractor=processor)
    (made,) = strategy_over(folder, "bfloat16").make([draft()])
    assert made.image is None
    assert "safety checker" in made.problem
    assert made.facts["flagged"] is True
    assert "retried" not in made.facts
