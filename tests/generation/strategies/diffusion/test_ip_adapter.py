"""References as image tokens: each image has its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from drafts import distance, draft, load

from diantu.datasets import InputError


def adapted(model: Path, folder: Path, **settings: object):
    files = {"adapter": str(folder), "weight_names": ["tiny.safetensors"], "scales": [1.0]}
    return load("ip_adapter", model, **(files | settings))


@pytest.fixture(params=["tiny_sd", "tiny_sdxl"])
def pair(request: pytest.FixtureRequest) -> tuple[Path, Path]:
    adapter = "tiny_ip_adapter" if request.param == "tiny_sd" else "tiny_ip_adapter_sdxl"
    return request.getfixturevalue(request.param), request.getfixturevalue(adapter)


@pytest.mark.parametrize("guidance", [5.0, 0.0])
def test_references_do_not_mix_across_a_batch(pair: tuple[Path, Path], guidance: float) -> None:
    """diffusers gives each image all references: https://github.com/huggingface/diffusers/issues/9813."""
    strategy = adapted(*pair, guidance=guidance)
    drafts = [draft(number, references=2, seed=7) for number in range(3)]
    batch = strategy.make(drafts)
    for made, each in zip(batch, drafts, strict=True):
        (alone,) = strategy.make([each])
        assert distance(made, alone) <= 2
    assert distance(batch[0], batch[1]) > 4  # only the references differ


def test_every_reference_has_an_effect(tiny_sd: Path, tiny_ip_adapter: Path) -> None:
    strategy = adapted(tiny_sd, tiny_ip_adapter)
    first, second = draft(references=2).references
    one, two, both = (strategy.make([draft(references=given)])[0] for given in [(first,), (second,), (first, second)])
    assert min(distance(one, two), distance(one, both), distance(two, both)) > 4


def test_scale_0_equals_text_to_image(pair: tuple[Path, Path]) -> None:
    (plain,) = load("text2img", pair[0], width=96, height=64).make([draft(references=0)])
    strategy = adapted(*pair, width=96, height=64)
    without, with_it = (strategy.make([draft(settings={"ip_adapter": {"scales": scale}})])[0] for scale in (0, 1.0))
    assert distance(plain, without) <= 1
    assert distance(plain, with_it) > 4


def test_other_strategies_over_the_same_weights_are_not_affected(pair: tuple[Path, Path]) -> None:
    """A UNet with an adapter needs image tokens in every call, also in that of the fallback."""
    text, image = load("text2img", pair[0]), load("img2img", pair[0], strength=0.5)
    drafts = [draft(number) for number in range(2)]
    wordy = [draft(number, references=0) for number in range(2)]
    before = [*text.make(wordy), *image.make(drafts)]
    strategy = adapted(*pair)
    made = strategy.make(drafts)
    assert strategy.model is text.model
    after = [*text.make(wordy), *image.make(drafts)]
    assert all(distance(old, new) <= 1 for old, new in zip(before, after, strict=True))
    assert distance(made[0], strategy.make(drafts)[0]) == 0


def test_scales_of_single_references(tiny_sd: Path, tiny_ip_adapter: Path) -> None:
    """With the same file twice, each of two references has its own scale."""
    strategy = adapted(tiny_sd, tiny_ip_adapter, weight_names=["tiny.safetensors"] * 2, scales=[1.0, 0.0])
    assert strategy.num_references == (2, 2)
    first, second = draft(references=2).references
    one, other, both = (
        strategy.make([draft(references=(first, reference), settings={"ip_adapter": {"scales": scales}})])[0]
        for reference, scales in [(second, [1.0, 0.0]), (draft(9).references[0], [1.0, 0.0]), (second, [1.0, 1.0])]
    )
    assert distance(one, other) == 0
    assert distance(one, both) > 4
    with pytest.raises(InputError, match="takes 2 references, not 1"):
        strategy.check(draft())


def test_with_strength_denoising_starts_from_the_first_reference(tiny_sd: Path, tiny_ip_adapter: Path) -> None:
    strategy = adapted(tiny_sd, tiny_ip_adapter, strength=0.5, scales=0)
    drafts = [draft(number, seed=7) for number in range(2)]
    batch = strategy.make(drafts)
    (expected,) = load("img2img", tiny_sd, strength=0.5).make([drafts[0]])
    assert distance(batch[0], expected) <= 2  # at scale 0 the adapter has no effect
    assert batch[0].facts["steps_done"] == 1
    tokens = adapted(tiny_sd, tiny_ip_adapter, strength=0.5)
    made = tokens.make(drafts)
    assert distance(made[1], tokens.make([drafts[1]])[0]) <= 2
    assert distance(made[0], batch[0]) > 4


def test_description(tiny_sd: Path, tiny_ip_adapter: Path) -> None:
    facts = adapted(tiny_sd, tiny_ip_adapter).describe()
    assert facts["adapter_revision"].startswith("sha256:")
    assert facts["adapter_revision"] != facts["revision"]
    assert facts["settings"]["weight_names"] == ["tiny.safetensors"]


@pytest.mark.parametrize(
    "settings", [{"adapter": "/nowhere"}, {"weight_names": "other.safetensors"}, {"image_encoder": "encoder"}]
)
def test_adapters_that_cannot_be_loaded(tiny_sd: Path, tiny_ip_adapter: Path, settings: dict[str, object]) -> None:
    strategy = adapted(tiny_sd, tiny_ip_adapter, **settings)
    with pytest.raises(InputError, match=r"adapter '.*' cannot be loaded \(.*\); give a repository") as caught:
        strategy.describe()
    assert "\n" not in str(caught.value)


def test_an_adapter_for_another_model_is_refused(tiny_sd: Path, tiny_ip_adapter_sdxl: Path) -> None:
    text = load("text2img", tiny_sd)
    (before,) = text.make([draft(references=0)])
    with pytest.raises(InputError, match="made for this model"):
        adapted(tiny_sd, tiny_ip_adapter_sdxl).make([draft()])
    assert distance(before, text.make([draft(references=0)])[0]) == 0
