"""Resizing with torch: against Pillow, against resizing the whole image, and in galleries of the other resizer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import encoded, same_tree, write_tar
from PIL import Image

from diantu.datasets import InputError, decode, find_shards, photos
from diantu.indexing.embed import embed
from diantu.indexing.encoders import EncoderSpec, load_encoder, preprocess
from diantu.indexing.encoders.preprocessing import stacked
from diantu.indexing.encoders.spec import Interpolation, Resize
from diantu.indexing.encoders.torch_encoder import TorchImageEncoder
from diantu.search import Gallery

CLIP = EncoderSpec(name="x", dim=1, image_size=224, resize="shortest_edge_crop", resizer="torch")


def photographs() -> list[np.ndarray]:
    return [decode(path.read_bytes()) for path in sorted(photos.FOLDER.glob("*.jpg"))]


@pytest.mark.parametrize("resize", ["squash", "shortest_edge_crop"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_near_those_of_pillow(resize: Resize, interpolation: Interpolation) -> None:
    spec = replace(CLIP, resize=resize, interpolation=interpolation)
    apart = [
        np.abs(preprocess(rgb_HWC, spec).astype(int) - preprocess(rgb_HWC, replace(spec, resizer="pillow")))
        for rgb_HWC in photographs()
    ]
    # Where a tall image is squashed, the two scale its axes in another order, and clip overshoots at other pixels.
    assert max(image.max() for image in apart) <= (2 if resize == "shortest_edge_crop" else 16)
    assert np.mean([(image > 2).mean() for image in apart]) < 0.0001
    assert np.mean([(image > 0).mean() for image in apart]) < 0.02


@settings(max_examples=200, deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    image_size=st.integers(1, 40),
    smaller=st.integers(-8, 8),
    rounded=st.booleans(),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
)
def test_a_crop_has_the_pixels_of_the_whole_resized_image(
    height: int, width: int, image_size: int, smaller: int, rounded: bool, interpolation: Interpolation
) -> None:
    least, most = sorted((height, width))
    height, width = (min(height, 8 * least), min(width, 8 * least)) if most > 8 * least else (height, width)
    spec = replace(
        CLIP,
        image_size=image_size,
        resize="shortest_edge_crop_rounded" if rounded else "shortest_edge_crop",
        resize_size=max(1, image_size + smaller),
        interpolation=interpolation,
    )
    rgb_HWC = np.random.default_rng(height * width).integers(0, 256, (height, width, 3), np.uint8)
    size = [int(spec.resize_size * side / least) for side in (height, width)]
    whole_1CHW = torch.nn.functional.interpolate(
        torch.from_numpy(rgb_HWC).permute(2, 0, 1)[None], size=size, mode=interpolation, antialias=True
    )
    whole = Image.fromarray(whole_1CHW[0].permute(1, 2, 0).numpy())
    left_out = [side - image_size for side in size]
    top, left = (round(side / 2) for side in left_out) if rounded else (side // 2 for side in left_out)
    expected_HWC = np.asarray(whole.crop((left, top, left + image_size, top + image_size)))
    apart = np.abs(preprocess(rgb_HWC, spec).transpose(1, 2, 0).astype(int) - expected_HWC)
    assert apart.max() <= 1


@pytest.mark.parametrize("shape", [(1, 30_000, 3), (30_000, 1, 3), (1, 1, 3)])
@pytest.mark.parametrize("resize", ["squash", "shortest_edge_crop", "shortest_edge_crop_rounded"])
def test_very_elongated_images_are_resized_in_little_memory(shape: tuple[int, int, int], resize: Resize) -> None:
    rgb_HWC = np.full(shape, 7, np.uint8)
    rgb_HWC.flags.writeable = False  # as Pillow's pixels are
    assert (preprocess(rgb_HWC, replace(CLIP, resize=resize)) == np.full((3, 224, 224), 7)).all()


def test_batches_have_the_order_of_their_images() -> None:
    images = photographs()[:3]
    for resizer, memory_format in (("torch", torch.channels_last), ("pillow", torch.contiguous_format)):
        pixels = [preprocess(rgb_HWC, replace(CLIP, resizer=resizer)) for rgb_HWC in images]  # type: ignore[arg-type]
        batch = stacked(pixels)
        assert batch.is_contiguous(memory_format=memory_format)
        np.testing.assert_array_equal(batch.numpy(), np.stack(pixels))


@pytest.mark.parametrize("interpolation", ["lanczos", "nearest"])
def test_filters_that_torch_does_not_have_are_refused(interpolation: Interpolation) -> None:
    with pytest.raises(InputError, match=f"torch, which has no interpolation '{interpolation}'; give resizer='pillow'"):
        preprocess(np.zeros((2, 2, 3), np.uint8), replace(CLIP, interpolation=interpolation))
    with pytest.raises(InputError, match="resizer 'opencv' of encoder x is not known; give one of: pillow, torch"):
        preprocess(np.zeros((2, 2, 3), np.uint8), replace(CLIP, resizer="opencv"))  # type: ignore[arg-type]


def test_specs_of_earlier_releases_keep_their_fingerprint() -> None:
    old = replace(CLIP, resizer="pillow")
    assert "resizer" not in old.to_json()
    assert EncoderSpec.from_json(old.to_json()) == old
    assert old.fingerprint == "0ecceaf01a5870cf"
    assert EncoderSpec.from_json(CLIP.to_json()) == CLIP
    assert CLIP.fingerprint != old.fingerprint
    assert CLIP.resized_as([replace(CLIP, dim=2), old]) == old
    assert CLIP.resized_as([old, CLIP]) == CLIP
    assert CLIP.resized_as([replace(old, dim=2)]) == CLIP


def write_photographs(folder: Path) -> list[str]:
    names = ["animal_giraffe.jpg", "tool_plier3.jpg", "animal_panda.jpg", "landmark_burj.jpg"]
    for i in range(2):
        write_tar(folder / f"{i}.tar", [(name, (photos.FOLDER / name).read_bytes()) for name in names[i::2]])
    return [str(folder / "0.tar"), str(folder / "1.tar")]


def test_a_gallery_keeps_its_resizer(clip_folder: Path, dinov2_folder: Path, tmp_path: Path) -> None:
    first, second = write_photographs(tmp_path / "s")
    new = [load_encoder(f"hf:{folder}", device="cpu") for folder in (clip_folder, dinov2_folder)]
    assert all(isinstance(encoder, TorchImageEncoder) and encoder.spec.resizer == "torch" for encoder in new)
    old = [encoder.with_resizer("pillow") for encoder in new]  # type: ignore[attr-defined]
    embed(find_shards([first, second]), tmp_path / "old", old)
    embed(find_shards([first]), tmp_path / "continued", old[:1])
    embed(find_shards([first]), tmp_path / "continued", old)  # a further space, in the part that exists
    for workers in (0, 1):  # encoders as they are loaded today
        embed(find_shards([first, second]), tmp_path / "continued", new, num_workers=workers)
    assert same_tree(tmp_path / "old", tmp_path / "continued")
    embed(find_shards([first, second]), tmp_path / "new", new)
    assert not same_tree(tmp_path / "old" / "img_emb", tmp_path / "new" / "img_emb")

    image = Image.open(photos.FOLDER / "animal_panda.jpg")
    for name, encoders in (("old", old), ("new", new)):
        for space, encoder in zip(("clip", "dinov2"), encoders, strict=True):
            gallery = Gallery.open(tmp_path / name, device="cpu")  # loads the encoders by their names
            emb_D = encoder.encode_images(stacked([encoder.preprocess(decode(encoded(image, "PNG")))]))[0]
            by_image = gallery.search(image=image, k=4, space=space)
            by_vector = gallery.search(vector=emb_D, k=4, space=space)
            assert [(hit.key, hit.score) for hit in by_image] == [(hit.key, hit.score) for hit in by_vector]


@pytest.mark.parametrize("model", ["clip", "chinese_clip", "siglip2", "dinov2"])
def test_vectors_are_near_those_of_pillow(model: str, request: pytest.FixtureRequest) -> None:
    new = load_encoder(f"hf:{request.getfixturevalue(f'{model}_folder')}", device="cpu", precision="fp32")
    old = new.with_resizer("pillow")  # type: ignore[attr-defined]
    new_BD, old_BD = (
        encoder.encode_images(stacked([encoder.preprocess(rgb_HWC) for rgb_HWC in photographs()]))
        for encoder in (new, old)
    )
    assert (new_BD * old_BD).sum(axis=1).min() >= 0.9995


def test_an_encoder_that_cannot_resize_otherwise_is_refused(tmp_path: Path, dinov2_folder: Path) -> None:
    class Own:
        def __init__(self) -> None:
            self._encoder = load_encoder(f"hf:{dinov2_folder}", device="cpu")
            self.spec, self.preprocess = self._encoder.spec, self._encoder.preprocess
            self.encode_images = self._encoder.encode_images

    (first, _), own = write_photographs(tmp_path / "s"), Own()
    old = own._encoder.with_resizer("pillow")  # type: ignore[attr-defined]
    embed(find_shards([first]), tmp_path / "g", old)
    with pytest.raises(InputError, match=r"was made with .*: use the same encoder, or another gallery"):
        embed(find_shards(write_photographs(tmp_path / "s")), tmp_path / "g", own)
