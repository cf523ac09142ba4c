"""Chains of strategies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from drafts import distance, draft, load, on_cpu, pixels
from PIL import Image
from tiny_pipelines import save_sd, vae_of

from diantu.datasets import InputError
from diantu.generation.strategies import load_strategies


def chain(folder: Path, *names: str, **settings: dict[str, object]):
    given = {name: {"steps": 2, **settings.get(name, {})} for name in names}
    return load_strategies(names, given, on_cpu(folder))


def test_each_strategy_works_on_the_image_of_the_one_before(tiny_sd: Path) -> None:
    both = chain(tiny_sd, "text2img", "img2img", text2img={"width": 60, "height": 40})
    assert both.name == "text2img+img2img"
    assert both.num_references == (0, 0)
    drafts = [draft(number, references=0) for number in range(2)]
    for each in drafts:
        both.check(each)
    made = both.make(drafts)
    first = load("text2img", tiny_sd, width=60, height=40).make(drafts)
    second = load("img2img", tiny_sd).make([draft(number, references=(first[number].image,)) for number in range(2)])
    for number in range(2):
        assert distance(made[number], second[number]) <= 2
        assert made[number].facts == {"text2img": first[number].facts, "img2img": second[number].facts}
    assert set(both.describe()) == {"text2img", "img2img"}


def test_images_of_different_sizes_are_sorted_into_new_batches(tiny_sd: Path, tiny_ip_adapter: Path) -> None:
    """Settings differ only for the second strategy, so the first makes one batch and the second two."""
    adapter = {"adapter": str(tiny_ip_adapter), "weight_names": "tiny.safetensors"}
    both = chain(tiny_sd, "img2img", "ip_adapter", ip_adapter=adapter)
    drafts = [draft(number, settings={"ip_adapter": {"width": 50 + 10 * (number % 2)}}) for number in range(3)]
    assert len({both.bucket(each) for each in drafts}) == 1
    assert [pixels(each).shape[1] for each in both.make(drafts)] == [50, 60, 50]


def test_a_failed_image_is_not_passed_on(tmp_path: Path) -> None:
    vae = vae_of(seed=0)
    with torch.no_grad():
        vae.decoder.conv_norm_out.weight.fill_(3e38)  # finite, but sums of what it scales are not
    (made,) = chain(save_sd(tmp_path / "sd", vae=vae), "text2img", "img2img").make([draft(references=0)])
    assert made.image is None
    assert "not numbers" in made.problem
    assert set(made.facts) == {"text2img"}


def test_all_strategies_check_a_draft_before_the_work(tiny_sd: Path) -> None:
    both = chain(tiny_sd, "img2img", "inpaint")
    with pytest.raises(InputError, match="no mask and no segmenter"):
        both.check(draft(mask=Image.new("L", (96, 64), "white")))  # it belongs to the reference, not to the image
    with pytest.raises(InputError, match="'img2img' takes 1 reference, not 2"):
        both.check(draft(references=2))


def test_chains_that_do_not_fit(tiny_sd: Path) -> None:
    with pytest.raises(InputError, match="'text2img' cannot follow another strategy: it takes no reference"):
        chain(tiny_sd, "img2img", "text2img")
    with pytest.raises(InputError, match="'img2img' is given twice"):
        chain(tiny_sd, "img2img", "img2img")
