"""Folders of models that strangers made: no code of theirs runs, nothing is asked, and one sentence says why."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import plant, unit
from safetensors.torch import load_file, save_file
from tiny_models import save_clip

from diantu.datasets import InputError
from diantu.indexing.encoders import load_encoder
from diantu.indexing.encoders.places import check_place
from diantu.indexing.store.manifest import read_manifest
from diantu.search import Gallery

Change = Callable[[Path], None]

_CODE = """
import pathlib, transformers
pathlib.Path({marker!r}).touch()
class C(transformers.CLIPConfig): pass
class M(transformers.CLIPModel): pass
class P(transformers.CLIPImageProcessor): pass
class T(transformers.CLIPTokenizerFast): pass
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def hostile(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with code, and a person who would say yes to every question."""
    folder = shutil.copytree(clip, tmp_path / "model")
    (folder / "evil.py").write_text(_CODE.format(marker=str(tmp_path / "was here")))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    return folder


def settings(file: str, **changes: Any) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        found = json.loads(path.read_text()) if path.exists() else {}
        for name, value in changes.items():
            found[name] = {**found.get(name, {}), **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(found))

    return change


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def pickled(save: Callable[[Any, Path], object]) -> Change:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        save({"x": _Touch(folder.parent / "was here")}, folder / "pytorch_model.bin")

    return change


def tensors(edit: Callable[[dict[str, torch.Tensor]], None]) -> Change:
    def change(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        edit(found)
        save_file(found, folder / "model.safetensors", metadata={"format": "pt"})

    return change


_CODE_OF_ITS_OWN = "Python code of its own .auto_map in its settings.*give a model of one of these types: clip"
_UNSAFE = "cannot be loaded safely: they are a pickle of more than tensors.*as safetensors"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (settings("config.json", model_type="evil", auto_map={"AutoConfig": "evil.C"}), _CODE_OF_ITS_OWN),
        (
            settings("preprocessor_config.json", auto_map={"AutoImageProcessor": "evil.P"}, image_processor_type="P"),
            _CODE_OF_ITS_OWN,
        ),
        (settings("config.json", _attn_implementation="kernels-community/x"), "a kernel that is not part of torch"),
        (settings("config.json", text_config={"attn_implementation": "a/b"}), "a kernel that is not part of torch"),
        (settings("config.json", quantization_config={"quant_method": "gptq"}), "quantized weights"),
        (settings("adapter_config.json", base_model_name_or_path="a/b"), "is an adapter .* names another model"),
        (settings("config.json", vision_config={"hidden_size": 10**9}), "parameters by its config.json"),
        (settings("config.json", vision_config={"num_hidden_layers": 10**9}), "at most 1000 are supported"),
        (settings("config.json", vision_config={"image_size": 10**9, "patch_size": 1}), "cannot be loaded"),
        (settings("config.json", text_config={"vocab_size": 10**9}), "parameters by its config.json"),
        (settings("config.json", text_config={"num_attention_heads": 0}), "cannot be loaded"),
        (settings("preprocessor_config.json", size={"shortest_edge": 10**6}), "up to 4096 are supported"),
        (settings("preprocessor_config.json", image_mean="x"), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("[" * 10**5), "cannot be loaded"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 10**6), "cannot be loaded"),
        (pickled(torch.save), _UNSAFE),
        (pickled(lambda value, path: path.write_bytes(pickle.dumps(value))), _UNSAFE),
        (tensors(lambda found: found.pop("text_projection.weight")), "lacks 1 tensors, for example text_projection"),
        (tensors(lambda found: found["logit_scale"].fill_(float("nan"))), "not finite .in logit_scale"),
    ],
)
def test_a_hostile_folder_is_refused_in_one_sentence(
    hostile: Path, tmp_path: Path, change: Change, message: str
) -> None:
    change(hostile)
    with pytest.raises(InputError, match=message) as refused:
        load_encoder(f"hf:{hostile}", device="cpu")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    "change",
    [
        settings("config.json", auto_map={"AutoConfig": "evil.C", "AutoModel": "evil.M"}),
        settings("tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", "evil.T"]}),
        settings("processor_config.json", auto_map={"AutoProcessor": "evil.P"}),
        settings("tokenizer_config.json", chat_template="{{ ''.__class__.__mro__ }}"),
        lambda folder: torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin"),
    ],
)
def test_a_model_that_needs_no_code_is_loaded(clip: Path, hostile: Path, tmp_path: Path, change: Change) -> None:
    change(hostile)
    if (hostile / "pytorch_model.bin").exists():
        (hostile / "model.safetensors").unlink()
    ours = load_encoder(f"hf:{hostile}", device="cpu").spec
    assert ours.weights_sha256 == load_encoder(f"hf:{clip}", device="cpu").spec.weights_sha256
    assert not (tmp_path / "was here").exists()


def named(root: Path, name: str) -> Path:
    """A gallery whose encoder has this name."""
    plant(root, unit(torch.eye(2).numpy()))
    path = root / "gallery.json"
    path.write_text(path.read_text().replace('"hf:x"', json.dumps(name)))
    (root / "checksums.json").unlink()  # a stranger writes a right one
    assert read_manifest(root).spec.name == name
    return root


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("hf:someone/model-of-theirs", "has not downloaded yet"),
        ("hf://host/share/model", "on another machine"),
        ("hf:\\\\host\\share", "on another machine"),
        ("cn_clip://host/a.pt", "on another machine"),
        ("open_clip:ViT-B-32///host/a.pt", "on another machine"),
        ("open_clip:ViT-B-32/https://a.example/a.pt", "on another machine"),
        ("hf:{gallery}", "came with the gallery"),
        ("cn_clip:{gallery}/gallery.json", "came with the gallery"),
        ("open_clip:ViT-B-32/{gallery}/gallery.json", "came with the gallery"),
    ],
)
def test_a_gallery_cannot_name_every_place(tmp_path: Path, name: str, why: str) -> None:
    name = name.format(gallery=tmp_path)
    (tmp_path / "gallery.json").touch()
    with pytest.raises(InputError, match=f"{why}.*--encoder"):
        check_place(name, name.partition(":")[2], tmp_path)


@pytest.mark.parametrize(
    "name",
    ["conse", "cn_clip:RN50", "open_clip:ViT-B-32/openai", "hf:openai/clip-vit-base-patch32",
     "hf:{folder}", "hf:" + "x/" * 9999],
)  # fmt: skip
def test_a_gallery_can_name_what_is_known(tmp_path: Path, name: str) -> None:
    (tmp_path / "gallery").mkdir()
    check_place(name, name.format(folder=tmp_path).partition(":")[2], tmp_path / "gallery")


def test_opening_the_gallery_of_a_stranger_runs_nothing(hostile: Path, tmp_path: Path) -> None:
    settings("config.json", model_type="evil", auto_map={"AutoConfig": "evil.C"})(hostile)
    with pytest.raises(InputError, match="Python code of its own"):
        Gallery.open(named(tmp_path / "a", f"hf:{hostile}"), device="cpu").search("a dog")
    with pytest.raises(InputError, match="has not downloaded yet"):
        Gallery.open(named(tmp_path / "b", "hf:someone/else"), device="cpu").search("a dog")
    assert not (tmp_path / "was here").exists()
    assert sys.stdin.read() == "y\n" * 9
