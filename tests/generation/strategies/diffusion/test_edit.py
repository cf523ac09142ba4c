"""Several references in context."""

from __future__ import annotations

from pathlib import Path

import pytest
from drafts import distance, draft, load, pixels

from diantu.datasets import InputError


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_editors import save_klein

    return save_klein(tmp_path_factory.mktemp("editors") / "klein")


def test_klein_reads_all_references_of_its_own_image_only(klein: Path) -> None:
    strategy = load("edit", klein, pixels=64 * 64)
    drafts = [draft(number, references=2, seed=7) for number in range(2)]
    for each in drafts:
        strategy.check(each)
    batch = strategy.make(drafts)
    (alone,) = strategy.make(drafts[1:])
    assert distance(batch[1], alone) == 0
    first, second = drafts[0].references
    (one,) = strategy.make([draft(references=(first,), seed=7)])
    (turned,) = strategy.make([draft(references=(second, first), seed=7)])
    assert min(distance(batch[0], other) for other in (batch[1], one, turned)) > 0
    assert batch[0].facts["steps_done"] == 2
    assert batch[0].facts["size"] == [64, 48]  # the shape of the first reference, in multiples of 16


def test_klein_has_no_negative_prompt(klein: Path) -> None:
    (made,) = load("edit", klein, pixels=64 * 64, guidance=1).make([draft(negative_prompt="text")])
    assert made.facts["negative_prompt_ignored"] is True


def test_klein_without_references(klein: Path) -> None:
    """The fallback for prompts without a reference uses the same weights."""
    edit, fallback = load("edit", klein, pixels=64 * 64), load("text2img", klein, pixels=64 * 64)
    assert pixels(fallback.make([draft(references=0)])[0]).shape == (64, 64, 3)
    assert edit.model is fallback.model


def test_references_that_are_too_small_or_long(klein: Path) -> None:
    strategy = load("edit", klein)
    for size in (63, 200), (1000, 100):
        with pytest.raises(
            InputError, match=f"draft-0: a reference has {size[0]}×{size[1]} px; give one with at least 64"
        ):
            strategy.check(draft(size=size))


def test_models_that_do_not_edit(tiny_sd: Path) -> None:
    with pytest.raises(InputError, match="does not do 'edit'; give one of: Flux2KleinPipeline"):
        load("edit", tiny_sd).describe()


def test_qwen_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as module
    from tiny_editors import save_qwen_edit

    monkeypatch.setattr(module, "VAE_IMAGE_SIZE", 64 * 64)  # Qwen resizes references to these areas for every model
    monkeypatch.setattr(module, "CONDITION_IMAGE_SIZE", 64 * 64)
    strategy = load("edit", save_qwen_edit(tmp_path / "qwen"), pixels=64 * 64)
    drafts = [draft(number, references=2, seed=7) for number in range(2)]
    one, other = strategy.make(drafts)
    assert distance(one, other) > 0
    assert distance(other, strategy.make(drafts[1:])[0]) == 0
    # Guidance is named `true_cfg_scale` here and has no effect without a negative prompt, so diantu passes one.
    (unguided,) = strategy.make([draft(references=2, seed=7, settings={"edit": {"guidance": 1}})])
    assert one.facts["guidance"] == 4.0
    assert distance(one, unguided) > 0
