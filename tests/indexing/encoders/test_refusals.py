"""Inputs that are refused, each in one sentence, and the warning about texts that are too long."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from transformers import Siglip2Config
from zygote import Zygote

from diantu.datasets import InputError
from diantu.indexing.encoders import TextEncoder, load_encoder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("open_clip:Vit-B32/openai", "no architecture 'Vit-B32'; the nearest of its names: .*ViT-B-32"),
        ("open_clip:ViT-B-32", "weights of ViT-B-32 are missing; give open_clip:ViT-B-32/ and one of: openai, "),
        ("open_clip:ViT-B-32/nothing.pt", "'nothing.pt' is neither weights of ViT-B-32 in open_clip nor a file"),
        ("open_clip:ViT-B-32/openai", "trained with QuickGELU.*give open_clip:ViT-B-32-quickgelu/openai"),
    ],
)
def test_open_clip_refuses(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_encoder(name, device="cpu")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04"])
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_open_clip_refuses_files_that_are_not_checkpoints(
    content: bytes, suffix: str, open_clip_vit: Path, tmp_path: Path
) -> None:
    (tmp_path / f"weights.{suffix}").write_bytes(content)
    with pytest.raises(InputError, match="holds no weights of tiny-vit"):
        load_encoder(f"open_clip:{open_clip_vit.name}/{tmp_path / f'weights.{suffix}'}", device="cpu")


def test_open_clip_refuses_weights_of_another_architecture(open_clip_vit: Path, open_clip_resnet: Path) -> None:
    with pytest.raises(InputError, match=r"holds no weights of tiny-vit that can be loaded safely \(.*Missing key"):
        load_encoder(f"open_clip:{open_clip_vit.name}/{open_clip_resnet / 'random.pt'}", device="cpu")


class _Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_open_clip_runs_no_code_from_a_checkpoint(open_clip_vit: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": _Touch(tmp_path / "was here")}, tmp_path / "evil.pt")
    with pytest.raises(InputError, match="can be loaded safely"):
        load_encoder(f"open_clip:{open_clip_vit.name}/{tmp_path / 'evil.pt'}", device="cpu")
    assert not (tmp_path / "was here").exists()


def test_open_clip_refuses_preprocessing_that_pads(open_clip_vit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tag = {"file": str(open_clip_vit / "random.pt"), "resize_mode": "longest"}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, open_clip_vit.name, {"ours": tag})
    with pytest.raises(InputError, match=r"resize 'longest'.*not supported"):
        load_encoder(f"open_clip:{open_clip_vit.name}/ours", device="cpu")


def test_open_clip_warns_that_a_checkpoint_has_no_preprocessing(
    open_clip_vit: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tags = {mode: {"file": "", "resize_mode": mode} for mode in ("squash", "shortest")}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, open_clip_vit.name, tags)
    encoder = load_encoder(f"open_clip:{open_clip_vit.name}/{open_clip_vit / 'random.pt'}", device="cpu")
    assert "weights of tiny-vit were published with 2 kinds of preprocessing" in caplog.text
    assert encoder.spec.resize == "shortest_edge_crop_rounded"


def test_naflex_is_refused(tmp_path: Path) -> None:
    Siglip2Config().save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"is a NaFlex model .* give SigLIP 2 of a fixed resolution"):
        load_encoder(f"hf:{tmp_path}", device="cpu")


@pytest.mark.parametrize(("module", "extra"), [("open_clip", "open-clip"), ("torchvision", "hf")])
def test_a_missing_package_is_answered_with_the_pip_line(
    module: str, extra: str, dinov3_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    name = "open_clip:ViT-B-32/openai" if module == "open_clip" else f"hf:{dinov3_folder}"
    with pytest.raises(InputError, match=rf'needs {module}.*pip install "diantu\[{extra}\]"'):
        load_encoder(name, device="cpu")


def test_siglip_without_sentencepiece_is_answered_with_the_pip_line(siglip_folder: Path, jobs: Zygote) -> None:
    """In a separate process, because transformers looks for packages only when it is imported."""
    script = (
        "import sys; sys.modules['sentencepiece'] = None\n"
        "from diantu.indexing.encoders import load_encoder\n"
        f"load_encoder('hf:{siglip_folder}', device='cpu')"
    )
    job = jobs.start_script(script)
    assert job.wait() == 1
    last = job.stderr().splitlines()[-1]
    assert "needs a package that is not installed (SiglipTokenizer requires the SentencePiece library" in last
    assert 'pip install "diantu[hf]"' in last


@pytest.mark.parametrize("model", ["siglip_folder", "siglip2_folder", "open_clip_vit"])
def test_texts_that_are_cut_are_counted(
    model: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    folder: Path = request.getfixturevalue(model)
    name = f"open_clip:{folder.name}/{folder / 'random.pt'}" if model == "open_clip_vit" else f"hf:{folder}"
    encoder = load_encoder(name, device="cpu", precision="fp32")
    assert isinstance(encoder, TextEncoder)
    caplog.set_level(logging.WARNING)
    encoder.encode_texts(["a red fox"])
    assert "not searched" not in caplog.text
    encoder.encode_texts(["a red fox", "fox " * 20])
    assert "1 of 2 texts are longer than 16 tokens; the rest of them is not searched" in caplog.text


def test_loading_prints_nothing_under_the_command_line(
    siglip2_folder: Path, dinov3_folder: Path, open_clip_vit: Path, jobs: Zygote
) -> None:
    names = [f"hf:{siglip2_folder}", f"hf:{dinov3_folder}", f"open_clip:{open_clip_vit.name}/{open_clip_vit}/random.pt"]
    script = (
        "from diantu.scripts.main import set_up_logging; set_up_logging(False)\n"
        f"import open_clip; open_clip.add_model_config('{open_clip_vit}/{open_clip_vit.name}.json')\n"
        "from diantu.indexing.encoders import load_encoder\n"
        f"for name in {names}: load_encoder(name, device='cpu')"
    )
    job = jobs.start_script(script)
    assert job.wait() == 0
    assert job.stderr() == ""
