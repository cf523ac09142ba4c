"""Small models with random weights that edit several references: FLUX.2-klein and Qwen-Image-Edit-Plus."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLFlux2,
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
)
from tiny_pipelines import spread
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessor,
    Qwen2VLProcessor,
    Qwen2VLVideoProcessor,
    Qwen3Config,
    Qwen3ForCausalLM,
)

_SPECIAL = [
    f"<|{name}|>"
    for name in ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
]
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_klein(folder: Path, *, seed: int = 0) -> Path:
    """Saves a FLUX.2-klein. Its text encoder has 28 layers, because the prompt is read from layers 9, 18 and 27."""
    torch.manual_seed(seed)
    width = 16
    text = {"hidden_size": width, "intermediate_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2}
    tokenizer = _tokenizer()
    text_encoder = Qwen3ForCausalLM(
        Qwen3Config(**text, num_hidden_layers=28, head_dim=8, vocab_size=len(tokenizer), max_position_embeddings=512)
    )
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4, layers_per_block=1, latent_channels=2, norm_num_groups=2, sample_size=64,
    )  # fmt: skip
    transformer = Flux2Transformer2DModel(
        in_channels=8, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=3 * width, timestep_guidance_channels=32, axes_dims_rope=(4, 4, 4, 4), mlp_ratio=2.0,
        guidance_embeds=False,
    )  # fmt: skip
    Flux2KleinPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=spread(vae), text_encoder=spread(text_encoder),
        tokenizer=tokenizer, transformer=spread(transformer), is_distilled=True,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_qwen_edit(folder: Path, *, seed: int = 0) -> Path:
    """Saves a Qwen-Image-Edit-Plus: references go through the text encoder and the VAE. Needs torchvision."""
    torch.manual_seed(seed)
    width = 16
    tokenizer = _tokenizer()
    ids = dict(zip(_SPECIAL, tokenizer.convert_tokens_to_ids(_SPECIAL), strict=True))
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": len(tokenizer), "max_position_embeddings": 4096,
            "bos_token_id": ids["<|endoftext|>"], "eos_token_id": ids["<|im_end|>"],
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0},
        },
        vision_config={
            "depth": 2, "hidden_size": 16, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": width,
            "fullatt_block_indexes": [1],
        },
        bos_token_id=ids["<|endoftext|>"], eos_token_id=ids["<|im_end|>"],
        image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=width, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    area = {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    processor = Qwen2VLProcessor(Qwen2VLImageProcessor(**area), tokenizer, Qwen2VLVideoProcessor(**area))
    QwenImageEditPlusPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=spread(vae),
        text_encoder=spread(Qwen2_5_VLForConditionalGeneration(config)), tokenizer=tokenizer, processor=processor,
        transformer=spread(transformer),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def _tokenizer() -> Qwen2Tokenizer:
    """Returns a tokenizer with one token per byte of UTF-8."""
    vocabulary = {letter: number for number, letter in enumerate(sorted(ByteLevel.alphabet()))}
    tokenizer = Qwen2Tokenizer(vocabulary, [], pad_token="<|endoftext|>", unk_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": _SPECIAL})
    tokenizer.chat_template = _CHAT
    return tokenizer
