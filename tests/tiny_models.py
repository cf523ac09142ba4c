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
)

_TEXT = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
_VISION = {**_TEXT, "image_size": 64, "patch_size": 16}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_CHARACTERS = "一只大熊猫座城堡动物工具著名建筑海边的风车abcdefghijklmnopqrstuvwxyz0123456789"


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


def save_dinov2(folder: Path, *, seed: int = 0) -> Path:
    """DINOv2: shortest edge 72, crop 64, 64 dimensions."""
    torch.manual_seed(seed)
    config = Dinov2Config(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, image_size=64, patch_size=16)
    _wide(Dinov2Model(config)).save_pretrained(folder)
    crop = {"height": 64, "width": 64}
    BitImageProcessor(
        size={"shortest_edge": 72}, crop_size=crop, resample=3, image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _wide(model: torch.nn.Module):
    """Weights spread out: those of a fresh model are so small that any two inputs give nearly the same vector."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model.eval()
