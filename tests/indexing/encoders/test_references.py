"""Every family against its reference implementation: the same weights, the same JPEG bytes."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoTokenizer, ChineseCLIPModel, CLIPModel, Dinov2Model

from diantu.datasets import decode, photos
from diantu.indexing.encoders import ImageEncoder, TextEncoder, load_encoder

# Wide, tall and square pictures: cropping and squashing differ between them.
PICTURES = ["animal_giraffe.jpg", "tool_multimeter3.jpg", "tool_plier3.jpg", "animal_panda.jpg", "landmark_burj.jpg"]
TEXTS_EN = ["a red panda", "windmill by the sea", "x"]
TEXTS_ZH = ["大熊猫", "一座城堡", "海边的风车 abc"]


def ours(encoder: ImageEncoder) -> np.ndarray:
    pixels = [encoder.preprocess(decode((photos.FOLDER / name).read_bytes())) for name in PICTURES]
    return encoder.encode_images(torch.from_numpy(np.stack(pixels)))


def opened() -> list[Image.Image]:
    return [Image.open(photos.FOLDER / name) for name in PICTURES]


def assert_same_vectors(emb_BD: np.ndarray, reference_BD: torch.Tensor) -> None:
    reference = torch.nn.functional.normalize(reference_BD.detach().float(), dim=-1).numpy()
    assert emb_BD.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(emb_BD, axis=1), 1, atol=1e-5)
    assert (emb_BD * reference).sum(axis=1).min() >= 0.9999
    # The comparison means something only if different inputs have different vectors.
    between = reference @ reference.T
    assert between[~np.eye(len(between), dtype=bool)].max() < 0.999


@torch.inference_mode()
def test_hf_clip(clip_folder: Path) -> None:
    encoder = load_encoder(f"hf:{clip_folder}", device="cpu", precision="fp32")
    model = CLIPModel.from_pretrained(clip_folder)
    pixels = AutoImageProcessor.from_pretrained(clip_folder)(opened(), return_tensors="pt")
    assert_same_vectors(ours(encoder), model.get_image_features(**pixels).pooler_output)
    tokens = AutoTokenizer.from_pretrained(clip_folder)(TEXTS_EN, padding=True, truncation=True, return_tensors="pt")
    assert isinstance(encoder, TextEncoder)
    assert_same_vectors(encoder.encode_texts(TEXTS_EN), model.get_text_features(**tokens).pooler_output)


@torch.inference_mode()
def test_hf_chinese_clip(chinese_clip_folder: Path) -> None:
    encoder = load_encoder(f"hf:{chinese_clip_folder}", device="cpu", precision="fp32")
    model = ChineseCLIPModel.from_pretrained(chinese_clip_folder)
    pixels = AutoImageProcessor.from_pretrained(chinese_clip_folder)(opened(), return_tensors="pt")
    assert_same_vectors(ours(encoder), model.get_image_features(**pixels).pooler_output)
    tokens = AutoTokenizer.from_pretrained(chinese_clip_folder)(TEXTS_ZH, padding=True, return_tensors="pt")
    assert isinstance(encoder, TextEncoder)
    assert_same_vectors(encoder.encode_texts(TEXTS_ZH), model.get_text_features(**tokens).pooler_output)


@torch.inference_mode()
def test_hf_dinov2_has_no_text_side(dinov2_folder: Path) -> None:
    encoder = load_encoder(f"hf:{dinov2_folder}", device="cpu", precision="fp32")
    pixels = AutoImageProcessor.from_pretrained(dinov2_folder)(opened(), return_tensors="pt")
    reference = Dinov2Model.from_pretrained(dinov2_folder)(**pixels).last_hidden_state[:, 0]
    assert_same_vectors(ours(encoder), reference)
    assert isinstance(encoder, ImageEncoder)
    assert not isinstance(encoder, TextEncoder)


@pytest.mark.parametrize("name", ["RN50", pytest.param("ViT-B-16", marks=pytest.mark.slow)])
@torch.inference_mode()
def test_cn_clip(name: str, tmp_path: Path) -> None:
    from cn_clip import clip
    from cn_clip.clip.utils import _MODEL_INFO, create_model

    architecture, resolution = _MODEL_INFO[name]["struct"], _MODEL_INFO[name]["input_resolution"]
    torch.manual_seed(0)
    with contextlib.redirect_stdout(sys.stderr):
        reference = create_model(architecture)
    state = {f"module.{key}": value for key, value in reference.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "random.pt")
    reference.float().eval()

    with contextlib.redirect_stdout(io.StringIO()) as stdout:
        encoder = load_encoder(f"cn_clip:{tmp_path / 'random.pt'}", device="cpu", precision="fp32")
    assert stdout.getvalue() == ""
    pixels = torch.stack([clip.image_transform(resolution)(image) for image in opened()])
    emb_BD = ours(encoder)
    reference_BD = torch.nn.functional.normalize(reference.encode_image(pixels), dim=-1).numpy()
    assert (emb_BD * reference_BD).sum(axis=1).min() >= 0.9999
    assert isinstance(encoder, TextEncoder)
    texts_BD = torch.nn.functional.normalize(reference.encode_text(clip.tokenize(TEXTS_ZH)), dim=-1).numpy()
    assert (encoder.encode_texts(TEXTS_ZH) * texts_BD).sum(axis=1).min() >= 0.9999
    np.testing.assert_array_equal(ours(encoder), emb_BD)  # dropout is off


def test_precision_changes_vectors_little(clip_folder: Path) -> None:
    fp32 = ours(load_encoder(f"hf:{clip_folder}", device="cpu", precision="fp32"))
    bf16 = ours(load_encoder(f"hf:{clip_folder}", device="cpu", precision="bf16"))
    assert (fp32 * bf16).sum(axis=1).min() >= 0.999
    assert not np.array_equal(fp32, bf16)
