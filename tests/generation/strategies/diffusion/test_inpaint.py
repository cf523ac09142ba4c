"""Inpainting repaints a part and does not change any other byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from drafts import distance, draft, load, pixels
from PIL import Image
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from diantu.datasets import InputError
from diantu.generation.strategies.diffusion.inpaint import overlay

SIZE = (101, 67)


def left_half(size: tuple[int, int] = SIZE) -> Image.Image:
    mask = Image.new("L", size, 0)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    return mask


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SegFormer with random weights that finds `cat` and `sky`, never `dog`."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("segmenter")
    names = {0: "sky", 1: "cat", 2: "dog"}
    config = SegformerConfig(
        depths=[1] * 4, hidden_sizes=[8] * 4, num_attention_heads=[1] * 4, decoder_hidden_size=8,
        id2label=names, label2id={name: number for number, name in names.items()},
    )  # fmt: skip
    model = SegformerForSemanticSegmentation(config)
    with torch.no_grad():
        model.decode_head.classifier.weight.mul_(50)
        model.decode_head.classifier.bias.copy_(torch.tensor([0.0, 0.0, -1e6]))
    model.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("model", ["tiny_sd", "tiny_inpaint"])
def test_the_kept_part_is_unchanged_byte_for_byte(model: str, request: pytest.FixtureRequest) -> None:
    """Two kinds of models: a UNet with 4 channels starts from the image, one with 9 also reads the mask."""
    strategy = load("inpaint", request.getfixturevalue(model))
    drafts = [draft(number, size=SIZE, mask=left_half()) for number in range(2)]
    for each in drafts:
        strategy.check(each)
    batch = strategy.make(drafts)
    for made, each in zip(batch, drafts, strict=True):
        original = np.asarray(each.references[0])
        assert pixels(made).shape == (*SIZE[::-1], 3)
        kept = np.asarray(left_half()) == 0
        assert (pixels(made)[kept] == original[kept]).all()
        assert np.abs(pixels(made)[:, :30] - original[:, :30]).mean() > 10
        assert made.facts["mask"] == "given"
        assert distance(made, strategy.make([each])[0]) <= 2
    assert distance(*batch) > 10


def test_the_prompt_fills_the_mask(tiny_inpaint: Path) -> None:
    strategy = load("inpaint", tiny_inpaint)
    one, other = strategy.make([draft(mask=left_half((96, 64)), prompt=prompt) for prompt in ("海边", "a desk")])
    assert distance(one, other) > 4


def test_at_least_one_step_is_done(tiny_sd: Path) -> None:
    (made,) = load("inpaint", tiny_sd, steps=3, strength=0.1).make([draft(mask=left_half((96, 64)))])
    assert made.facts["steps_done"] == 1
    pixels(made)


@pytest.mark.parametrize("feather", [0, 1, 8])
def test_the_edge_fades_only_inside_the_mask(feather: int) -> None:
    new, original = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), "black")
    row = np.asarray(overlay(new, original, left_half((64, 64)), feather))[32, :, 0].astype(int)
    assert (row[32:] == 0).all()
    assert (row[: 32 - feather - 1] == 255).all()
    assert (np.diff(row) <= 0).all()
    if feather > 1:
        assert ((row > 0) & (row < 255)).sum() >= feather - 1
        assert row[31] < 64  # it begins with the original


def test_the_edge_also_fades_inside_the_mask_in_corners() -> None:
    """In the corner of an L, most of the area around a kept pixel is new."""
    new, original = Image.new("RGB", (64, 64), "white"), Image.new("RGB", (64, 64), "black")
    mask = Image.new("L", (64, 64), 255)
    mask.paste(0, (32, 32, 64, 64))
    made = np.asarray(overlay(new, original, mask, 8))
    assert (made[32:, 32:] == 0).all()
    assert (made[:16, :16] == 255).all()


def test_masks_that_cannot_be_used(tiny_sd: Path) -> None:
    strategy = load("inpaint", tiny_sd)
    for mask, says in [
        (None, "there is no mask and no segmenter"),
        (left_half((64, 64)), "the mask has 64×64 px and the reference 96×64"),
        (Image.new("L", (96, 64)), "completely black"),
    ]:
        with pytest.raises(InputError, match=f"draft-0: .*{says}"):
            strategy.check(draft(mask=mask))


def test_a_segmenter_finds_the_subject(tiny_sd: Path, segmenter: Path) -> None:
    strategy = load("inpaint", tiny_sd, segmenter=str(segmenter), subject="cat", feather=0)
    each = draft(size=SIZE)
    strategy.check(each)
    (made,) = strategy.make([each])
    (opposite,) = strategy.make([draft(size=SIZE, settings={"inpaint": {"keep": "background"}})])
    assert made.facts["mask"] == str(segmenter)
    original = np.asarray(each.references[0]).astype(int)
    changed, changed_there = ((pixels(x) != original).any(-1) for x in (made, opposite))
    assert not (changed & changed_there).any()  # either the subject, or everything else
    assert 0.05 < changed.mean() < 0.95
    assert (changed | changed_there).mean() > 0.9


def test_without_a_label_the_subject_is_in_the_centre(tiny_sd: Path, segmenter: Path) -> None:
    whole = load("inpaint", tiny_sd, segmenter=str(segmenter), feather=0)
    (made,) = whole.make([draft(size=SIZE)])
    by_label = [
        whole.make([draft(size=SIZE, settings={"inpaint": {"subject": [label]}})])[0] for label in ("cat", "sky")
    ]
    assert 0 in [distance(made, each) for each in by_label]


def test_a_missing_subject_is_a_problem_of_this_image_only(tiny_sd: Path, segmenter: Path) -> None:
    strategy = load("inpaint", tiny_sd, segmenter=str(segmenter), subject="dog")
    without, given = strategy.make([draft(0), draft(1, mask=left_half((96, 64)))])
    assert without.image is None
    assert without.problem == f"draft-0: {segmenter} finds no subject in the reference"
    pixels(given)


def test_segmenters_that_cannot_be_used(tiny_sd: Path, segmenter: Path) -> None:
    with pytest.raises(InputError, match="has no label 'horse'; it has: cat, dog, sky"):
        load("inpaint", tiny_sd, segmenter=str(segmenter), subject="horse").make([draft()])
    with pytest.raises(InputError, match="segmenter '/nowhere' cannot be loaded"):
        load("inpaint", tiny_sd, segmenter="/nowhere").make([draft()])
