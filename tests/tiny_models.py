"""Small models of real architectures with random weights, saved as a hub would hold them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import (
    BertTokenizerFast,
    BitImageProcessor,
    ChineseCLIPConfig,
    ChineseCLIPImageProcessor,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTokenizerFast,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTImageProcessor,
    DINOv3ViTModel,
    GemmaTokenizer,
    PreTrainedTokenizerBase,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
    SiglipTokenizer,
)

_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_VISION = {**_TEXT, "image_size": 64, "patch_size": 16}
_DINO = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 16,
}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_CHARACTERS = "一只大熊猫座城堡动物工具著名建筑海边的风车abcdefghijklmnopqrstuvwxyz0123456789"
_SENTENCES = ["a red panda", "windmill by the sea", "the quick brown fox jumps over the lazy dog", "x"]


def save_clip(folder: Path, *, seed: int = 0) -> Path:
    """CLIP: 64 px, shortest edge and crop, 32 dimensions, texts of 16 tokens."""
    torch.manual_seed(seed)
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocabulary = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    ids = {token: i for i, token in enumerate(vocabulary)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    end = ids["<|endoftext|>"]
    text = {**_TEXT, "vocab_size": len(ids), "max_position_embeddings": 16, "eos_token_id": end}
    text |= {"bos_token_id": end - 1, "pad_token_id": end}
    _wide(CLIPModel(CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=32))).save_pretrained(folder)
    CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16).save_pretrained(
        folder
    )
    CLIPImageProcessor(size={"shortest_edge": 64}, crop_size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_chinese_clip(folder: Path, *, seed: int = 0) -> Path:
    """Chinese-CLIP: 64 px squashed, 32 dimensions, the published models' preprocessing."""
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*_SPECIAL, *dict.fromkeys(_CHARACTERS)]))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    text = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 128}
    config = ChineseCLIPConfig(text_config=text, vision_config=_VISION, projection_dim=32)
    _wide(ChineseCLIPModel(config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"height": 64, "width": 64}
    ChineseCLIPImageProcessor(size=size, do_center_crop=False).save_pretrained(folder)
    return folder


def save_siglip(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP: 64 px squashed, 64 dimensions, texts of 16 tokens, pieces out of `_SENTENCES` by sentencepiece."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "spiece.model").open("wb") as file:
        sentencepiece.SentencePieceTrainer.Train(
            sentence_iterator=iter(_SENTENCES * 4), model_writer=file, vocab_size=40, hard_vocab_limit=False,
            pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
        )  # fmt: skip
    tokenizer = SiglipTokenizer(str(folder / "spiece.model"), model_max_length=16, model_input_names=["input_ids"])
    return _save_siglip(folder, tokenizer, seed)


def save_siglip2(folder: Path, *, seed: int = 0) -> Path:
    """SigLIP 2 of a fixed resolution: a SigLIP with Gemma's tokenizer, which knows capitals and gives a mask."""
    folder.mkdir(parents=True, exist_ok=True)
    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *dict.fromkeys("▁ABCDEFGHIJKLMNOPQRSTUVWXYZ" + _CHARACTERS)]
    tokenizer = GemmaTokenizer(
        {piece: i for i, piece in enumerate(pieces)}, [], model_max_length=16, padding_side="right",
        add_bos_token=False, add_eos_token=True,
    )  # fmt: skip
    return _save_siglip(folder, tokenizer, seed)


def _save_siglip(folder: Path, tokenizer: PreTrainedTokenizerBase, seed: int) -> Path:
    torch.manual_seed(seed)
    special = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = {**_TEXT, **special, "vocab_size": len(tokenizer), "max_position_embeddings": 16}
    _wide(SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    SiglipImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def save_dinov2(folder: Path, *, seed: int = 0) -> Path:
    """DINOv2: shortest edge 72, crop 64, 64 dimensions."""
    torch.manual_seed(seed)
    _wide(Dinov2Model(Dinov2Config(**_DINO))).save_pretrained(folder)
    return _save_dino_processor(folder)


def save_dinov2_with_registers(folder: Path, *, seed: int = 0) -> Path:
    """DINOv2 with four registers: shortest edge 72, crop 64, 64 dimensions."""
    torch.manual_seed(seed)
    _wide(Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**_DINO))).save_pretrained(folder)
    return _save_dino_processor(folder)


def save_dinov3(folder: Path, *, seed: int = 0) -> Path:
    """DINOv3: 64 px squashed, 64 dimensions, four registers as the published models have."""
    torch.manual_seed(seed)
    config = DINOv3ViTConfig(**_DINO, intermediate_size=128, num_register_tokens=4)
    _wide(DINOv3ViTModel(config)).save_pretrained(folder)
    DINOv3ViTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def _save_dino_processor(folder: Path) -> Path:
    crop = {"height": 64, "width": 64}
    BitImageProcessor(
        size={"shortest_edge": 72}, crop_size=crop, resample=3, image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_open_clip(folder: Path, vision: dict[str, object], *, seed: int = 0) -> Path:
    """open_clip: an architecture with the folder's name, 64 px, 32 dimensions, texts of 16 tokens, and `random.pt`."""
    import open_clip

    folder.mkdir(parents=True, exist_ok=True)
    text = {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 2}
    config = {"embed_dim": 32, "vision_cfg": {"image_size": 64, **vision}, "text_cfg": text}
    (folder / f"{folder.name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder / f"{folder.name}.json")
    torch.manual_seed(seed)
    model = _wide(open_clip.create_model(folder.name))
    torch.save({"epoch": 1, "state_dict": model.state_dict()}, folder / "random.pt")
    return folder


def _wide(model: torch.nn.Module):
    """Weights spread out: those of a fresh model are so small that any two inputs give nearly the same vector."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model.eval()
