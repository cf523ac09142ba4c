"""Image to image and text to image, in cases where diffusers silently does something else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from drafts import distance, draft, load, pixels
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from diantu.datasets import InputError
from diantu.generation.strategies.diffusion.calls import enough_steps


def test_at_least_one_step_is_done(tiny_sd: Path) -> None:
    """int(3 × 0.1) is 0, so diffusers would do no step."""
    strategy = load("img2img", tiny_sd, steps=3, strength=0.1)
    (made,) = strategy.make([draft()])
    pixels(made)
    assert made.facts["steps_asked"] == 3
    assert made.facts["steps_given"] == 10
    assert made.facts["steps_done"] == 1


@given(asked=st.integers(1, 100), strength=st.floats(0.01, 1))
@example(asked=1, strength=0.0303030303030303)  # 33 times this is 0.99…
def test_steps_are_not_raised_more_than_necessary(asked: int, strength: float) -> None:
    steps = enough_steps(asked, strength)
    assert int(steps * strength) >= 1
    assert steps == asked or int((steps - 1) * strength) < 1


def test_transparency_is_not_taken_for_latents(tiny_sd: Path) -> None:
    """diffusers takes an image with a fourth channel for latents."""
    reference = draft().references[0].convert("RGBA")
    reference.putalpha(Image.linear_gradient("L").resize(reference.size))
    flat = Image.new("RGBA", reference.size, "white")
    flat.alpha_composite(reference)
    strategy = load("img2img", tiny_sd)
    (made,) = strategy.make([draft(references=(reference,))])
    (expected,) = strategy.make([draft(references=(flat.convert("RGB"),))])
    assert distance(made, expected) == 0


def test_results_have_the_size_that_was_asked_for(tiny_sd: Path) -> None:
    strategy = load("img2img", tiny_sd, width=101, height=67)
    (made,) = strategy.make([draft(size=(101, 67))])
    assert pixels(made).shape == (67, 101, 3)
    assert made.facts["size"] == [101, 67]
    assert made.facts["size_worked"] == [72, 48]
    (made,) = load("img2img", tiny_sd).make([draft(size=(101, 67))])
    assert made.facts["size"] == made.facts["size_worked"] == [72, 48]


def test_only_equal_sizes_and_settings_share_a_batch(tiny_sd: Path) -> None:
    strategy = load("img2img", tiny_sd)
    wide, tall = draft(size=(96, 64)), draft(size=(64, 96))
    assert strategy.bucket(wide) == strategy.bucket(draft(1, size=(96, 64)))
    assert strategy.bucket(wide) != strategy.bucket(tall)
    assert strategy.bucket(wide) != strategy.bucket(draft(settings={"img2img": {"strength": 0.9}}))
    # SDXL encodes a missing negative prompt differently from an empty one, so the batch would change the image.
    assert strategy.bucket(wide) != strategy.bucket(draft(negative_prompt="text"))
    asked = load("img2img", tiny_sd, width=64, height=64)
    assert asked.bucket(wide) == asked.bucket(tall)


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl", "tiny_sd3"])
def test_an_image_is_the_same_alone_and_in_a_batch(model: str, request: pytest.FixtureRequest) -> None:
    strategy = load("img2img", request.getfixturevalue(model))
    drafts = [draft(number, prompt=f"{number} 只大熊猫") for number in range(3)]
    batch = strategy.make(drafts)
    assert len(batch) == 3
    for made, again in zip(batch, strategy.make(drafts), strict=True):
        assert distance(made, again) == 0  # the same batch gives the same bytes
    for number in (0, 2):
        (alone,) = strategy.make([drafts[number]])
        assert distance(batch[number], alone) <= 2
        assert batch[number].facts == alone.facts
    backwards = strategy.make(drafts[::-1])
    assert distance(backwards[2], batch[0]) <= 2


def test_prompt_seed_and_reference_change_the_image(tiny_sd: Path) -> None:
    strategy = load("img2img", tiny_sd)
    first, *others = strategy.make(
        [draft(), draft(prompt="一座城堡"), draft(seed=5), draft(references=draft(9).references)]
    )
    assert all(distance(first, other) > 10 for other in others)


@pytest.mark.parametrize("guidance", [0.0, 1.0])
def test_a_negative_prompt_without_effect_is_reported(tiny_sd: Path, guidance: float, caplog) -> None:
    strategy = load("img2img", tiny_sd, guidance=guidance)
    with caplog.at_level(logging.WARNING, logger="diantu"):
        made, plain = strategy.make([draft(negative_prompt="text, watermark"), draft()])
    assert distance(made, plain) <= 1
    assert made.facts["negative_prompt_ignored"] is True
    assert "negative_prompt_ignored" not in plain.facts
    assert "draft-0: the negative prompt has no effect" in caplog.text


def test_a_negative_prompt_with_guidance_has_an_effect(tiny_sd: Path) -> None:
    made, plain = load("img2img", tiny_sd, guidance=6).make([draft(negative_prompt="text, watermark"), draft()])
    assert distance(made, plain) > 2
    assert "negative_prompt_ignored" not in made.facts


def test_prompts_that_clip_cuts_are_reported(tiny_sd: Path, caplog) -> None:
    long = "x" * 75 + " and what comes then"
    strategy = load("img2img", tiny_sd)
    with caplog.at_level(logging.WARNING, logger="diantu"):
        made, cut, fits = strategy.make([draft(prompt=long), draft(prompt="x" * 75), draft(prompt="a red panda")])
    assert distance(made, cut) <= 1  # the model did not read the rest
    assert made.facts["prompt_cut"]["kept"] == 77
    assert made.facts["prompt_cut"]["tokens"] > 77
    assert "draft-0: the prompt has" in caplog.text
    assert "prompt_cut" not in cut.facts
    assert "prompt_cut" not in fits.facts


def test_prompts_that_another_encoder_reads_are_not_cut(tiny_sd3: Path) -> None:
    made, cut = load("img2img", tiny_sd3).make([draft(prompt="x " * 100), draft(prompt="x " * 300)])
    assert "prompt_cut" not in made.facts  # CLIP reads 77 tokens, T5 reads 256
    assert cut.facts["prompt_cut"]["kept"] == 256


def test_schedulers_by_name(tiny_sd: Path) -> None:
    strategy = load("img2img", tiny_sd)
    own, euler, back = (
        strategy.make([draft(settings={"img2img": {"scheduler": name}})])[0]
        for name in (None, "EulerDiscreteScheduler", None)
    )
    assert own.facts["scheduler"] == back.facts["scheduler"] == "DDIMScheduler"
    assert euler.facts["scheduler"] == "EulerDiscreteScheduler"
    assert distance(own, back) == 0 < distance(own, euler)
    with pytest.raises(InputError, match="'UniformScheduler' does not fit"):
        strategy.check(draft(settings={"img2img": {"scheduler": "UniformScheduler"}}))


def test_how_many_references(tiny_sd: Path) -> None:
    with pytest.raises(InputError, match="draft-0: 'img2img' takes 1 reference, not 2"):
        load("img2img", tiny_sd).check(draft(references=2))
    with pytest.raises(InputError, match="'text2img' takes no reference, not 1"):
        load("text2img", tiny_sd).check(draft())


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_sdxl", "tiny_sd3"])
def test_text_to_image_shares_the_weights(model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(model)
    strategy, fallback = load("img2img", folder), load("text2img", folder, width=100, height=50)
    (before,) = strategy.make([draft()])
    drafts = [draft(number, references=0) for number in range(2)]
    made = fallback.make(drafts)
    assert pixels(made[0]).shape == (50, 100, 3)
    assert made[0].facts["size_worked"] == ([80, 32] if model == "tiny_sd3" else [88, 40])
    assert distance(made[0], made[1]) > 10
    assert distance(made[1], fallback.make([drafts[1]])[0]) <= 2
    assert distance(before, strategy.make([draft()])[0]) == 0
    assert strategy.model.pipeline(strategy.task).vae is fallback.model.pipeline(fallback.task).vae


def test_description(tiny_sd: Path) -> None:
    facts = load("img2img", tiny_sd, strength=0.3).describe()
    assert facts["settings"]["strength"] == 0.3
    assert facts["model"] == str(tiny_sd)
    assert facts["pipeline"] == "StableDiffusionImg2ImgPipeline"
    assert facts["scheduler"] == "DDIMScheduler"
    assert facts["dtype"] == "float32"
    assert facts["device"] == "cpu"
    assert facts["revision"].startswith("sha256:")
    assert set(facts["versions"]) == {"diffusers", "transformers", "torch", "threads"}


def test_strength_sets_the_influence_of_the_prompt(tiny_sd: Path) -> None:
    near, far = (load("img2img", tiny_sd, steps=10, strength=strength) for strength in (0.1, 1.0))
    changes = [distance(*strategy.make([draft(), draft(prompt="一座城堡")])) for strategy in (near, far)]
    assert 3 * changes[0] < changes[1], changes
