"""Runtimes for the image side: torch's vectors for every family, exported once, refused where they differ."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import CommandLine
from histogram import Histogram

from diantu.datasets import InputError, decode, photos
from diantu.indexing.encoders import ImageEncoder, Runtime, TextEncoder, load_encoder
from diantu.indexing.encoders.runtimes.images import with_runtime
from diantu.indexing.encoders.runtimes.open_vino import import_openvino
from diantu.indexing.encoders.runtimes.table import Row, Table, best, conditions, pays_from
from diantu.search import Gallery

FILES = {"export.json", "image.onnx", "image.onnx.data"}
FAMILIES = ["clip", "chinese_clip", "siglip", "dinov2", "dinov2_with_registers", "dinov3"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "diantu"


@pytest.fixture
def clip(clip_folder: Path, tmp_path: Path) -> Path:
    """A folder with a CLIP of its own, in which nothing was exported yet."""
    return shutil.copytree(clip_folder, tmp_path / "clip", ignore=shutil.ignore_patterns("diantu-runtimes"))


def load(name: str | Path, runtime: Runtime, precision: str = "fp32") -> ImageEncoder:
    name = f"hf:{name}" if isinstance(name, Path) else name
    return load_encoder(name, device="cpu", precision=precision, runtime=runtime)  # type: ignore[arg-type]


def vectors(encoder: ImageEncoder, count: int = 7) -> np.ndarray:
    names = sorted(photos.rows())[3 : 3 + count]
    pixels = [encoder.preprocess(decode((photos.FOLDER / name).read_bytes())) for name in names]
    return encoder.encode_images(torch.from_numpy(np.stack(pixels)))


def cosine(one_BD: np.ndarray, other_BD: np.ndarray) -> float:
    return float((one_BD * other_BD).sum(axis=1).min())


def files(folder: Path) -> dict[str, int]:
    """The files below a folder with when they were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != "lock"}


@pytest.mark.parametrize("model", FAMILIES)
def test_all_models_of_transformers(model: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = shutil.copytree(request.getfixturevalue(f"{model}_folder"), tmp_path / "model")
    in_torch = load(folder, "torch")
    expected = vectors(in_torch)
    for runtime in ("onnxruntime", "openvino"):
        encoder = load(folder, runtime)
        assert encoder.spec == in_torch.spec
        found = vectors(encoder)
        assert found.dtype == np.float32
        assert cosine(found, expected) >= 0.9999
        assert not np.array_equal(found, expected)  # torch would give the same bytes
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
        assert cosine(vectors(encoder, 1), expected[:1]) >= 0.9999  # another size of the batch
        if isinstance(in_torch, TextEncoder):
            assert isinstance(encoder, TextEncoder)
            np.testing.assert_array_equal(encoder.encode_texts(["a red panda"]), in_torch.encode_texts(["a red panda"]))
    assert set(files(folder / "diantu-runtimes" / in_torch.spec.fingerprint)) == FILES


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("architecture", ["vit", "resnet"])
def test_open_clip(architecture: str, runtime: Runtime, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder = request.getfixturevalue(f"open_clip_{architecture}")
    weights = shutil.copy(folder / "random.pt", tmp_path)
    name = f"open_clip:{folder.name}/{weights}"
    assert cosine(vectors(load(name, runtime)), vectors(load(name, "torch"))) >= 0.9999
    assert set(files(tmp_path / "diantu-runtimes")) == FILES


def test_conse_is_kept_in_the_cache_of_the_user(cache: Path) -> None:
    in_torch = load("conse", "torch")
    assert cosine(vectors(load("conse", "onnxruntime")), vectors(in_torch)) >= 0.9999
    assert set(files(cache / "runtimes" / in_torch.spec.fingerprint)) == FILES


def test_bf16(clip: Path) -> None:
    if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(InputError, match=r"^this CPU does not compute in bf16"):
            load(clip, "openvino", "bf16")
        return
    encoder = load(clip, "openvino", "bf16")
    found, expected = vectors(encoder), vectors(load(clip, "torch"))
    assert 0.999 <= cosine(found, expected) < 0.999999


def test_onnxruntime_reports_nothing_to_its_makers(clip: Path, tmp_path: Path) -> None:
    load(clip, "onnxruntime")
    script = (
        "import sys, time\n"
        "from diantu.indexing.encoders import load_encoder\n"
        "load_encoder(sys.argv[1], device='cpu', precision='fp32', runtime='onnxruntime')\n"
        "time.sleep(1)"  # it would begin in a thread
    )
    (tmp_path / "home").mkdir()
    environment = os.environ | {"HOME": str(tmp_path / "home")}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", script, f"hf:{clip}"], capture_output=True, check=True, env=environment)
    assert [*(tmp_path / "cache").iterdir()] == [tmp_path / "cache" / "diantu"]  # it would keep a number there
    assert not [path for path in (tmp_path / "home").rglob("*") if "Microsoft" in path.parts]


def test_signals_reach_a_process_after_openvino_computed_in_it(clip: Path) -> None:
    """Removing OpenVINO's core in another thread unmapped the stack for signals of the first thread."""
    script = (
        "import faulthandler, signal, subprocess, sys, threading\n"
        "import torch\n"
        "from diantu.indexing.encoders import load_encoder\n"
        "faulthandler.enable()\n"
        "signal.signal(signal.SIGCHLD, lambda *_: print('a child ended'))\n"
        "loaded = [load_encoder(sys.argv[1], device='cpu', precision='fp32', runtime='openvino')]\n"
        "side = loaded[0].spec.image_size\n"
        "loaded[0].encode_images(torch.zeros((1, 3, side, side), dtype=torch.uint8))\n"
        "thread = threading.Thread(target=loaded.clear)\n"
        "thread.start()\n"
        "thread.join()\n"
        "subprocess.run(['true'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, f"hf:{clip}"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "a child ended\n"), done.stderr


def test_openvino_reports_nothing_to_its_makers(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from diantu.indexing.encoders.runtimes.open_vino import import_openvino\n"
        "assert 'CPU' in import_openvino().Core().available_devices\n"
        "print([name for name in sys.modules if 'openvino_telemetry' in name])"
    )
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | {"HOME": str(home)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"
    assert [*home.iterdir()] == []  # it would keep a number for its user there


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++ on a CPU")
def test_compiled_by_torch(
    clip: Path, cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    in_torch = load(clip, "torch")
    with caplog.at_level(logging.INFO, "diantu"):
        encoder = load(clip, "compiled")
        whole, smaller = vectors(encoder, 16), vectors(encoder, 5)
        assert caplog.text.count("compiled for batches of ") == 1  # the smaller one was padded
        larger = vectors(encoder, 17)
        assert "compiled for batches of 32 in " in caplog.text
    assert encoder.spec == in_torch.spec
    expected = vectors(in_torch, 17)
    assert cosine(whole, expected[:16]) >= 0.9999
    assert cosine(larger, expected) >= 0.9999
    assert not np.array_equal(whole, expected[:16])  # torch would give the same bytes
    np.testing.assert_array_equal(smaller, whole[:5])
    assert any((cache / "runtimes" / "compiled").iterdir())


def test_without_a_compiler_there_is_a_sentence(clip: Path) -> None:
    script = (
        "import sys\n"
        "from diantu.datasets import InputError\n"
        "from diantu.indexing.encoders import load_encoder\n"
        "try:\n"
        "    load_encoder(sys.argv[1], device='cpu', precision='fp32', runtime='compiled')\n"
        "except InputError as error:\n"
        "    print(error)"
    )
    environment = os.environ | {"CXX": "no-such-compiler"}
    done = subprocess.run(
        [sys.executable, "-c", script, f"hf:{clip}"], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith(f"torch cannot compile the images of hf:{clip} here (")
    assert done.stdout.endswith("; give --runtime torch\n")
    assert len(done.stdout.splitlines()) == 1


def test_a_model_is_exported_and_checked_once(clip: Path, cache: Path) -> None:
    load(clip, "onnxruntime")
    before = files(clip) | files(cache)
    load(clip, "onnxruntime")
    assert files(clip) | files(cache) == before
    load(clip, "openvino")  # the same file, and a check of its own
    after = files(clip) | files(cache)
    assert after.items() > before.items()
    assert len(after) == len(before) + 1


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("image.onnx", "cut"), ("image.onnx.data", "changed"), ("image.onnx.data", "missing"), ("export.json", "cut"),
        ("export.json", "text"), ("export.json", "missing"),
    ],
)  # fmt: skip
def test_a_damaged_export_is_made_again(file: str, damage: str, clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(clip, "onnxruntime")
    (path,) = clip.rglob(file)
    content = path.read_bytes()
    other = {"cut": content[: len(content) // 2], "changed": content[:-3] + b"#" + content[-2:], "text": b"[1, 2]"}
    path.unlink() if damage == "missing" else path.write_bytes(other[damage])
    with caplog.at_level(logging.INFO, "diantu"):
        again = load(clip, "onnxruntime")
    assert "exporting the image side of hf:" in caplog.text
    assert ("is damaged, so it is exported again" in caplog.text) == (damage != "missing")
    assert cosine(vectors(again), vectors(load(clip, "torch"))) >= 0.9999
    caplog.clear()
    with caplog.at_level(logging.INFO, "diantu"):
        load(clip, "onnxruntime")
    assert "exporting the image side" not in caplog.text


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_an_export_of_other_weights_is_refused(
    runtime: Runtime, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import tiny_models

    stranger = tiny_models.save_clip(tmp_path / "stranger", seed=1)
    theirs = load(stranger, "onnxruntime").spec.fingerprint
    ours = load(clip, "torch").spec.fingerprint
    planted = shutil.copytree(stranger / "diantu-runtimes" / theirs, clip / "diantu-runtimes" / ours)
    record = json.loads((planted / "export.json").read_text())
    (planted / "export.json").write_text(json.dumps(record | {"fingerprint": ours}))
    for _ in range(2):  # the second time by what the cache says
        with pytest.raises(InputError, match=r"gives other vectors than torch \(worst cosine -?0\.\d+ on 16 photog"):
            load(clip, runtime)
    assert capsys.readouterr().out == ""


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_to(clip: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    clip.chmod(0o555)
    try:
        with caplog.at_level(logging.INFO, "diantu"):
            spec = load(clip, "onnxruntime").spec
    finally:
        clip.chmod(0o755)
    assert f"{clip} cannot be written to, so the exported model is kept in {cache}" in caplog.text
    assert set(files(cache / "runtimes" / spec.fingerprint)) == FILES


@pytest.mark.parametrize(
    ("runtime", "precision", "message"),
    [
        (
            "tensorrt",
            "auto",
            r"^the runtime tensorrt on the device cpu needs the provider TensorrtExecutionProvider, and",
        ),
        ("onnxruntime", "bf16", "^the runtime onnxruntime computes in fp32 and the precision is bf16; give --prec"),
    ],
)
def test_what_a_runtime_cannot_do_is_refused(runtime: Runtime, precision: str, message: str, clip: Path) -> None:
    with pytest.raises(InputError, match=message):
        load(clip, runtime, precision)
    assert not (clip / "diantu-runtimes").exists()


def test_an_encoder_without_torch_has_no_other_runtime() -> None:
    with pytest.raises(InputError, match=r"^the encoder histogram is no model of torch, so it cannot run in openvino$"):
        with_runtime(Histogram(), "openvino", "auto", Histogram)


ROWS = [
    Row(runtime="torch", precision="fp32", images_per_s=100.0, ms_per_batch=160.0, cosine=1.0),
    Row(runtime="torch", precision="bf16", images_per_s=200.0, ms_per_batch=80.0, cosine=0.99995),
    Row(runtime="onnxruntime", precision="fp32", images_per_s=115.0, ms_per_batch=139.0, cosine=1.0),
    Row(runtime="openvino", precision="fp32", images_per_s=114.0, ms_per_batch=140.0, cosine=1.0),
    Row(runtime="openvino", precision="bf16", images_per_s=229.0, ms_per_batch=70.0, cosine=0.99995),
]


def test_what_auto_takes() -> None:
    assert best(ROWS, "fp32", "fp32") == ROWS[2]  # 15 % faster
    assert best(ROWS[:2] + ROWS[3:], "fp32", "fp32") is None  # 14 %
    assert best(ROWS, "auto", "fp32") == ROWS[2]  # no bf16 where torch would not take it
    assert best(ROWS, "auto", "bf16") is None
    faster = Row(runtime="openvino", precision="fp32", images_per_s=230.0, ms_per_batch=69.0, cosine=1.0)
    assert best([*ROWS, faster], "auto", "bf16") == faster  # more exact, and faster
    assert best([*ROWS, faster], "bf16", "bf16") is None
    assert best(ROWS[2:], "auto", "fp32") is None  # nothing to compare with
    late = replace(faster, runtime="compiled", start_seconds=20.0)
    assert best([*ROWS, late], "auto", "bf16") is None  # it depends on the number of images
    assert best([*ROWS, replace(late, start_seconds=0.0)], "auto", "bf16") is None  # compiled before, by chance
    # 0.02 s per image at 50 images/s, 0.01 s at 100: each image regains 0.01 of 20 s.
    slower, quicker = replace(late, images_per_s=50.0), replace(late, images_per_s=100.0)
    assert pays_from(quicker, slower) == 2000
    assert pays_from(slower, quicker) is None


@pytest.mark.parametrize("change", [{}, {"threads": "77"}, {"openvino": "1.0"}, {"cpu": "another"}])
def test_auto_takes_what_a_table_of_this_machine_says(change: dict[str, str], clip: Path) -> None:
    device = torch.device("cpu")
    spec = load(clip, "torch").spec
    path = Table(
        encoder=spec.name, fingerprint=spec.fingerprint, batch_size=16, conditions=conditions(device) | change,
        rows=tuple(ROWS), left_out=(),
    ).save(device)  # fmt: skip
    encoder = load(clip, "auto")
    assert isinstance(encoder, TextEncoder)
    encoder.encode_texts(["x"])
    assert not (clip / "diantu-runtimes").exists()  # a search by text does not wait for it
    same = "torch" if change else "onnxruntime"
    np.testing.assert_array_equal(vectors(encoder), vectors(load(clip, same)))
    assert not np.array_equal(vectors(encoder), vectors(load(clip, "onnxruntime" if change else "torch")))
    path.write_text("{")
    np.testing.assert_array_equal(vectors(load(clip, "auto")), vectors(load(clip, "torch")))


def test_bench_encoder(clip: Path, cache: Path, diantu: CommandLine) -> None:
    options = ("bench-encoder", "--encoder", f"hf:{clip}", "--device", "cpu", "--batch-size", "3", "--seconds", "0.1")
    done = diantu(*options, "--json")
    assert done.returncode == 0, done.stderr
    table = json.loads(done.stdout)
    found = {(row["runtime"], row["precision"]): row for row in table["rows"]}
    assert {("torch", "fp32"), ("onnxruntime", "fp32"), ("openvino", "fp32")} <= set(found)
    assert all(row["images_per_s"] > 0 for row in found.values())
    assert all(row["cosine"] >= (0.9999 if row["precision"] == "fp32" else 0.999) for row in found.values())
    assert (table["auto"]["runtime"], table["auto"]["precision"]) in found
    compiled = [row for row in table["rows"] if row["runtime"] == "compiled"]
    if shutil.which("g++") is None:
        assert len(table["left_out"]) == 1
    else:
        assert table["left_out"] == []
        assert [row["start_seconds"] is not None for row in compiled] == [True]
    (path,) = (cache / "bench").iterdir()
    assert json.loads(path.read_text()) == {name: value for name, value in table.items() if name != "auto"}
    lines = diantu(*options).stdout.splitlines()
    assert lines[0].startswith(f"hf:{clip} on ")
    assert lines[1].split() == ["runtime", "precision", "images/s", "ms/batch", "of", "torch", "cosine"]
    assert [tuple(line.split()[:2]) for line in lines[2 : 2 + len(found)]] == list(found)
    assert lines[2 + len(found)].startswith("--runtime auto takes ")
    assert lines[3 + len(found)].startswith("--runtime compiled takes " if compiled else "not measured: torch cannot c")
    refused = diantu(*options[:-3], "0")
    assert (refused.returncode, refused.stderr) == (2, "diantu: the batch size is 0; give at least 1\n")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_on_the_command_line(processes: str, clip: Path, tmp_path: Path, diantu: CommandLine) -> None:
    source = tmp_path / "photos"
    source.mkdir()
    for name in sorted(photos.rows())[:6]:
        shutil.copy(photos.FOLDER / name, source)
    galleries = {}
    for runtime in ("torch", "onnxruntime"):
        galleries[runtime] = tmp_path / runtime
        done = diantu(
            "embed", "--source", source, "--output", galleries[runtime], "--encoder", f"hf:{clip}", "--device", "cpu",
            "--runtime", runtime, "--num-processes", processes, "--precision", "fp32",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    ours, theirs = (Gallery.open(galleries[name]).vectors(range(6)) for name in ("onnxruntime", "torch"))
    assert cosine(ours, theirs) >= 0.9999
    found = diantu(
        "search", "--gallery", galleries["torch"], "--image", source / sorted(os.listdir(source))[2], "--k", "1",
        "--runtime", "openvino", "--device", "cpu", "--json",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert '"score": 0.99' in found.stdout or '"score": 1.0' in found.stdout
    with pytest.raises(InputError, match=r"^the runtime tensorrt on the device cpu needs the provider"):
        Gallery.open(galleries["torch"], runtime="tensorrt", device="cpu").search("x")
    refused = diantu("search", "--gallery", galleries["torch"], "--text", "x", "--runtime", "onnx")
    assert refused.returncode == 2
    assert refused.stderr.startswith("diantu: runtime 'onnx' is not known; give one of: auto, torch, compiled, ")
