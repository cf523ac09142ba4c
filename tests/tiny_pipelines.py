"""Small diffusion pipelines of real architectures with random weights, saved in the format of the hub.

They have the properties of the published ones: a VAE of ×8, the 77 tokens of CLIP; but 64 × 64 px instead of 512 × 512.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerAncestralDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

torch.set_num_threads(1)  # on a busy machine, such small models run ten times slower with two threads

_DIM = 32  # of texts in cross-attention
_IMAGE_DIM = 16  # of an image embedding before the adapter


def save_sd(folder: Path, *, seed: int = 0, **components: Any) -> Path:
    """Saves a Stable Diffusion for text to image and image to image; `components` replace the random ones."""
    torch.manual_seed(seed)
    parts = {"vae": _vae(), "unet": _unet(), "text_encoder": CLIPTextModel(_text_config()), "scheduler": _scheduler()}
    parts |= {"tokenizer": _tokenizer(folder), "safety_checker": None, "feature_extractor": None}
    StableDiffusionPipeline(**(parts | components), requires_safety_checker=False).save_pretrained(folder)
    return folder


def save_inpaint(folder: Path, *, seed: int = 0) -> Path:
    """Saves a Stable Diffusion for inpainting: its UNet has 9 channels, with the mask and the masked image."""
    torch.manual_seed(seed)
    StableDiffusionInpaintPipeline(
        vae=_vae(), unet=_unet(in_channels=9), text_encoder=CLIPTextModel(_text_config()), scheduler=_scheduler(),
        tokenizer=_tokenizer(folder), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_sdxl(folder: Path, *, seed: int = 0) -> Path:
    """Saves an SDXL like its turbo model: two text encoders, size conditions, ancestral steps, trailing timesteps."""
    torch.manual_seed(seed)
    unet = _unet(
        cross_attention_dim=2 * _DIM, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + _DIM, transformer_layers_per_block=1, use_linear_projection=True,
    )  # fmt: skip
    StableDiffusionXLPipeline(
        vae=_vae(), unet=unet, text_encoder=CLIPTextModel(_text_config()),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()), tokenizer=_tokenizer(folder),
        tokenizer_2=_tokenizer(folder), scheduler=EulerAncestralDiscreteScheduler(timestep_spacing="trailing"),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_sd3(folder: Path, *, seed: int = 0) -> Path:
    """Saves a Stable Diffusion 3: a transformer over 2 × 2 latents, flow matching, and T5 beside CLIP."""
    torch.manual_seed(seed)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, joint_attention_dim=2 * _DIM, caption_projection_dim=32, pooled_projection_dim=2 * _DIM,
        pos_embed_max_size=32,
    )  # fmt: skip
    vae = AutoencoderKL(
        **{**_vae_config(), "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.06}
    )
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>", "▁", *map(chr, range(97, 123)))]
    t5 = T5Config(d_model=2 * _DIM, d_kv=8, d_ff=64, num_layers=1, num_heads=2, vocab_size=len(pieces))
    StableDiffusion3Pipeline(
        transformer=spread(transformer), scheduler=FlowMatchEulerDiscreteScheduler(), vae=spread(vae),
        text_encoder=CLIPTextModelWithProjection(_text_config()), tokenizer=_tokenizer(folder),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()), tokenizer_2=_tokenizer(folder),
        text_encoder_3=spread(T5EncoderModel(t5)), tokenizer_3=T5Tokenizer(pieces, extra_ids=0),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def save_ip_adapter(folder: Path, *, seed: int = 0, cross_attention_dim: int = _DIM) -> Path:
    """Saves an IP-Adapter for the UNet of `save_sd`: `models/tiny.safetensors` and `models/image_encoder/`.

    For the UNet of `save_sdxl`, `cross_attention_dim` is 64.
    """
    torch.manual_seed(seed)
    unet = _unet(cross_attention_dim=cross_attention_dim)
    image_encoder = CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, image_size=32,
            patch_size=8, projection_dim=_IMAGE_DIM,
        )
    )  # fmt: skip
    spread(image_encoder)
    image_encoder.save_pretrained(folder / "models" / "image_encoder")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder / "models" / "image_encoder"
    )
    num_tokens = 4
    weights = {
        "image_proj.proj.weight": torch.randn(num_tokens * cross_attention_dim, _IMAGE_DIM),
        "image_proj.proj.bias": torch.randn(num_tokens * cross_attention_dim),
        "image_proj.norm.weight": torch.ones(cross_attention_dim),
        "image_proj.norm.bias": torch.zeros(cross_attention_dim),
    }
    # One pair of projections per cross-attention, with odd numbers in the order of the UNet, as in published files.
    crossing = [name for name in unet.attn_processors if not name.endswith("attn1.processor")]
    for number, name in enumerate(crossing):
        width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for side in ("k", "v"):
            weights[f"ip_adapter.{2 * number + 1}.to_{side}_ip.weight"] = torch.randn(width, cross_attention_dim)
    save_file(weights, folder / "models" / "tiny.safetensors")
    return folder


def vae_of(*, seed: int) -> AutoencoderKL:
    """Returns a VAE that tests may change and pass to `save_sd`."""
    torch.manual_seed(seed)
    return _vae()


def _vae_config() -> dict[str, Any]:
    """Four blocks, so that the VAE reduces sizes by 8."""
    return {
        "block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4, "latent_channels": 4, "sample_size": 64,
        "down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4,
    }  # fmt: skip


def _vae() -> AutoencoderKL:
    return spread(AutoencoderKL(**_vae_config()))


def _unet(**changes: Any) -> UNet2DConditionModel:
    options: dict[str, Any] = {
        "block_out_channels": (16, 32), "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 8,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "attention_head_dim": 2,
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"), "cross_attention_dim": _DIM,
    }  # fmt: skip
    return spread(UNet2DConditionModel(**(options | changes)))


def _text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        hidden_size=_DIM, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, projection_dim=_DIM,
        vocab_size=2 * 256 + 2, max_position_embeddings=77, bos_token_id=512, eos_token_id=513, pad_token_id=513,
    )  # fmt: skip


def _tokenizer(folder: Path) -> CLIPTokenizer:
    """Returns a tokenizer with one token per byte of UTF-8, so that it distinguishes texts in every language."""
    letters = sorted(ByteLevel.alphabet())
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    vocab, merges = folder / "vocab.json", folder / "merges.txt"
    vocab.write_text(json.dumps({token: number for number, token in enumerate(vocabulary)}))
    merges.write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(vocab), str(merges), model_max_length=77)
    vocab.unlink()
    merges.unlink()
    return tokenizer


def _scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip


def spread(model: Any) -> Any:
    """Draws weights so large that prompts and references change the image; keeps the biases."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=parameter[0].numel() ** -0.5)
    return model.eval()
