"""Every family compared with its reference implementation, on the same weights and the same JPEG bytes."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer, ChineseCLIPModel, CLIPModel, SiglipModel

from diantu.datasets import decode, photos
from diantu.indexing.encoders import EncoderSpec, ImageEncoder, TextEncoder, load_encoder

# Wide, tall and square images: cropping and squashing differ between them.
IMAGES = ["animal_giraffe.jpg", "tool_multimeter3.jpg", "tool_plier3.jpg", "animal_panda.jpg", "landmark_burj.jpg"]
TEXTS_EN = ["a red panda", "windmill by the sea", "x"]
TEXTS_CASED = ["A RED Panda", "Windmill by the Sea", "X"]
TEXTS_ZH = ["大熊猫", "一座城堡", "海边的风车 abc"]


def ours(encoder: ImageEncoder) -> np.ndarray:
    pixels = [encoder.preprocess(decode((photos.FOLDER / name).read_bytes())) for name in IMAGES]
    return encoder.encode_images(torch.from_numpy(np.stack(pixels)))


def opened() -> list[Image.Image]:
    return [Image.open(photos.FOLDER / name) for name in IMAGES]


def assert_same_vectors(emb_BD: np.ndarray, reference_BD: torch.Tensor) -> None:
    reference = torch.nn.functional.normalize(reference_BD.detach().float(), dim=-1).numpy()
    assert emb_BD.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(emb_BD, axis=1), 1, atol=1e-5)
    assert (emb_BD * reference).sum(axis=1).min() >= 0.9999
    # The comparison is meaningful only if different inputs have different vectors.
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


@pytest.mark.parametrize("model", ["dinov2", "dinov2_with_registers", "dinov3"])
@torch.inference_mode()
def test_hf_dino_has_no_text_side(model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"{model}_folder")
    encoder = load_encoder(f"hf:{folder}", device="cpu", precision="fp32")
    pixels = AutoImageProcessor.from_pretrained(folder)(opened(), return_tensors="pt")
    assert_same_vectors(ours(encoder), AutoModel.from_pretrained(folder)(**pixels).last_hidden_state[:, 0])
    assert isinstance(encoder, ImageEncoder)
    assert not isinstance(encoder, TextEncoder)


@pytest.mark.parametrize("model", ["siglip", "siglip2"])
@torch.inference_mode()
def test_hf_siglip(model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"{model}_folder")
    encoder = load_encoder(f"hf:{folder}", device="cpu", precision="fp32")
    reference = SiglipModel.from_pretrained(folder)
    pixels = AutoImageProcessor.from_pretrained(folder)(opened(), return_tensors="pt")
    assert_same_vectors(ours(encoder), reference.get_image_features(**pixels).pooler_output)
    assert isinstance(encoder, TextEncoder)
    assert encoder.spec.text_context == 16
    # SigLIP's own tokenizer converts texts to lower case. SigLIP 2 uses Gemma's, whose users must do it themselves.
    texts = TEXTS_CASED if model == "siglip" else [text.lower() for text in TEXTS_CASED]
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding="max_length", truncation=True, return_tensors="pt")
    expected = reference.get_text_features(input_ids=tokens["input_ids"]).pooler_output
    assert_same_vectors(encoder.encode_texts(TEXTS_CASED), expected)
    # Texts are padded to the full context, not to the longest text of a batch.
    one_by_one = np.concatenate([encoder.encode_texts([text]) for text in TEXTS_CASED])
    assert_same_vectors(one_by_one, expected)


SHALLOW = {  # architectures of cn_clip with fewer and narrower layers
    "RN50": {"vision_layers": "[1,1,1,1]", "vision_width": 16, "embed_dim": 256},
    "ViT-B-16": {"vision_layers": 2, "vision_width": 128},
    "RBT3-chinese": {"text_hidden_size": 48, "text_intermediate_size": 96},
    "RoBERTa-wwm-ext-base-chinese": {"text_hidden_size": 48, "text_intermediate_size": 96, "text_num_hidden_layers": 4},
}


@pytest.fixture
def shallow_cn_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's architectures, small: its own have 100 million weights, which take seconds to draw and to load."""
    import cn_clip.clip

    package = Path(cn_clip.clip.__file__).parent
    for path in (package / "model_configs").glob("*.json"):
        config = json.loads(path.read_text()) | SHALLOW.get(path.stem, {})
        (tmp_path / "model_configs").mkdir(exist_ok=True)
        (tmp_path / "model_configs" / path.name).write_text(json.dumps(config))
    for module in (cn_clip.clip, cn_clip.clip.utils):  # where diantu and the package look beside
        monkeypatch.setattr(module, "__file__", str(tmp_path / "module.py"))


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16"])
@torch.inference_mode()
def test_cn_clip(name: str, tmp_path: Path, shallow_cn_clip: None) -> None:
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
    again = load_encoder(f"cn_clip:{tmp_path / 'random.pt'}", device="cpu", precision="fp32", runtime="onnxruntime")
    assert (ours(again) * emb_BD).sum(axis=1).min() >= 0.9999


@pytest.mark.parametrize("architecture", ["vit", "resnet"])
@torch.inference_mode()
def test_open_clip(architecture: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"open_clip_{architecture}")
    encoder = load_encoder(f"open_clip:{folder.name}/{folder / 'random.pt'}", device="cpu", precision="fp32")
    reference, preprocess = open_clip.create_model_from_pretrained(folder.name, str(folder / "random.pt"))
    reference.eval()
    assert_same_vectors(ours(encoder), reference.encode_image(torch.stack([preprocess(image) for image in opened()])))
    assert isinstance(encoder, TextEncoder)
    assert encoder.spec.text_context == 16
    tokens = open_clip.get_tokenizer(folder.name)(TEXTS_EN)
    assert_same_vectors(encoder.encode_texts(TEXTS_EN), reference.encode_text(tokens))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("resize_mode", ["squash", "shortest"])
@torch.inference_mode()
def test_open_clip_preprocesses_like_its_tag(
    interpolation: str, resize_mode: str, open_clip_vit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tag = {"file": str(open_clip_vit / "random.pt"), "interpolation": interpolation, "resize_mode": resize_mode}
    tag |= {"mean": (0.5, 0.4, 0.3), "std": (0.3, 0.4, 0.5)}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, open_clip_vit.name, {"ours": tag})
    encoder = load_encoder(f"open_clip:{open_clip_vit.name}/ours", device="cpu", precision="fp32")
    reference, preprocess = open_clip.create_model_from_pretrained(open_clip_vit.name, "ours")
    pixels_BCHW = torch.stack([preprocess(image) for image in opened()])
    assert_same_vectors(ours(encoder), reference.eval().encode_image(pixels_BCHW))
    # A file with the same weights has the same preprocessing, and is the same encoder.
    from_file = load_encoder(f"open_clip:{open_clip_vit.name}/{tag['file']}", device="cpu", precision="fp32")
    np.testing.assert_array_equal(ours(from_file), ours(encoder))
    assert from_file.spec.fingerprint == encoder.spec.fingerprint


def test_open_clip_distinguishes_architectures_with_the_same_weights(open_clip_vit: Path, tmp_path: Path) -> None:
    config = json.loads((open_clip_vit / "tiny-vit.json").read_text())
    (tmp_path / "tiny-vit-quickgelu.json").write_text(json.dumps({**config, "quick_gelu": True}))
    open_clip.add_model_config(tmp_path / "tiny-vit-quickgelu.json")
    names = [f"open_clip:{name}/{open_clip_vit / 'random.pt'}" for name in ("tiny-vit", "tiny-vit-quickgelu")]
    gelu, quick_gelu = (load_encoder(name, device="cpu", precision="fp32") for name in names)
    assert gelu.spec.weights_sha256 == quick_gelu.spec.weights_sha256
    assert np.abs(ours(gelu) - ours(quick_gelu)).max() > 1e-3
    assert gelu.spec.fingerprint != quick_gelu.spec.fingerprint
    assert quick_gelu.spec.slug == "open_clip_tiny-vit-quickgelu_random.pt"
    assert EncoderSpec.from_json(json.loads(json.dumps(gelu.spec.to_json()))) == gelu.spec


def test_open_clip_crops_like_torchvision(open_clip_vit: Path) -> None:
    """Half of an odd number of pixels is rounded to even: two rows are cut off above 64 × 67 pixels, not one."""
    encoder = load_encoder(f"open_clip:{open_clip_vit.name}/{open_clip_vit / 'random.pt'}", device="cpu")
    _, preprocess = open_clip.create_model_from_pretrained(open_clip_vit.name, str(open_clip_vit / "random.pt"))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (encoder.spec.mean, encoder.spec.std))
    for height in (64, 65, 66, 67, 69, 71):
        rgb_HWC = np.random.default_rng(0).integers(0, 256, (height, 64, 3), np.uint8)
        expected = (preprocess(Image.fromarray(rgb_HWC)) * std + mean) * 255
        np.testing.assert_array_equal(encoder.preprocess(rgb_HWC), expected.round().byte().numpy())


@pytest.mark.parametrize("model", ["clip", "siglip2", "dinov2_with_registers", "dinov3"])
def test_precision_changes_vectors_little(model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(f"{model}_folder")
    assert_precision_changes_vectors_little(f"hf:{folder}")


def test_precision_changes_vectors_of_open_clip_little(open_clip_vit: Path) -> None:
    assert_precision_changes_vectors_little(f"open_clip:{open_clip_vit.name}/{open_clip_vit / 'random.pt'}")


def assert_precision_changes_vectors_little(name: str) -> None:
    encoders = [load_encoder(name, device="cpu", precision=precision) for precision in ("fp32", "bf16")]
    fp32, bf16 = map(ours, encoders)
    assert (fp32 * bf16).sum(axis=1).min() >= 0.999
    assert not np.array_equal(fp32, bf16)
    if all(isinstance(encoder, TextEncoder) for encoder in encoders):
        fp32, bf16 = (encoder.encode_texts(TEXTS_EN) for encoder in encoders)
        assert (fp32 * bf16).sum(axis=1).min() >= 0.999
