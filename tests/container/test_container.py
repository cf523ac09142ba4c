"""What the container is made of, and its steps in a clean system."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomllib
import yaml
from containers import Builder, Image, context_names, index_arguments, read_stages
from prometheus_client.parser import text_string_to_metric_families
from servers import free_port, serving
from zygote import PATIENCE_SECONDS, wait_until

from diantu.datasets import photos

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "container"
TOKEN = "token-of-this-test"


def _last(stage: str, word: str) -> str:
    return [step.rest for step in read_stages(FOLDER / "Dockerfile")[stage] if step.word == word][-1]


def _compose(name: str = "compose.yaml") -> dict:
    return yaml.safe_load((FOLDER / name).read_text("utf-8"))


def test_the_context_holds_all_that_pip_installs_and_nothing_else() -> None:
    names = set(context_names(FOLDER / "Dockerfile.dockerignore"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = set(project["tool"]["setuptools"]["package-dir"].values())
    about = {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]}
    assert names == packages | about


def test_both_targets_serve_as_an_ordinary_user() -> None:
    stages = read_stages(FOLDER / "Dockerfile")
    assert list(stages)[-1] == "cpu"  # what is built where no target is named
    for target in ("cpu", "cuda"):
        base, *steps = stages[target]
        assert base.rest == "runtime"
        assert not [step for step in steps if step.word in ("USER", "ENTRYPOINT", "CMD", "HEALTHCHECK")]
    assert _last("runtime", "USER") not in ("root", "0")


def test_the_files_of_compose_name_what_the_image_has() -> None:
    stages, service = read_stages(FOLDER / "Dockerfile"), _compose()["services"]["diantu"]
    cuda = _compose("compose.cuda.yaml")["services"]["diantu"]
    for build, image in ((service["build"], service["image"]), (cuda["build"], cuda["image"])):
        assert build["target"] in stages
        assert image == f"diantu:{build['target']}"
    assert (FOLDER / service["build"]["context"] / service["build"]["dockerfile"]).samefile(FOLDER / "Dockerfile")
    command = json.loads(_last("runtime", "CMD"))
    (token,) = service["secrets"]
    assert command[command.index("--token-file") + 1] == f"/run/secrets/{token}"
    assert [volume.split(":")[-2 if volume.endswith(":ro") else -1] for volume in service["volumes"]] == json.loads(
        _last("runtime", "VOLUME")
    )
    assert {port.split(":")[-1] for port in service["ports"]} == {_last("runtime", "EXPOSE")}
    (scraped,) = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert scraped["static_configs"] == [{"targets": [f"diantu:{_last('runtime', 'EXPOSE')}"]}]
    assert scraped["authorization"]["credentials_file"] == f"/run/secrets/{token}"
    assert _compose()["services"]["prometheus"]["secrets"] == [token]


def test_its_command_serves_and_its_check_sees_it(demo: Path, tmp_path: Path) -> None:
    """The command, the check and Prometheus's request, with the paths and the port of this machine."""
    token, port = tmp_path / "token", str(free_port())
    token.write_text(f"{TOKEN}\n")
    places = {"/galleries/gallery": str(demo / "gallery"), "/run/secrets/token": str(token), "0.0.0.0": "127.0.0.1"}
    command = [places.get(word, word) for word in json.loads(_last("runtime", "CMD"))]
    steps = read_stages(FOLDER / "Dockerfile")["runtime"]
    (check,) = [step.rest.split("CMD ")[1] for step in steps if step.word == "HEALTHCHECK"]
    checked = json.loads(check.replace(":8000/", f":{port}/"))
    with serving(*command, "--port", port, port=int(port), ready="/healthz") as url:
        wait_until(lambda: not _ran(checked), "a service that is healthy", pause=0.1)
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{url}/metrics", timeout=PATIENCE_SECONDS)
        request = urllib.request.Request(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            names = {family.name for family in text_string_to_metric_families(answer.read().decode())}
        assert "diantu_request_seconds" in names
    assert _ran(checked) == 1


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The target `cpu`, built from the Dockerfile's steps."""
    if not os.environ.get("DIANTU_CONTAINER"):
        pytest.skip("installs everything anew, in minutes: DIANTU_CONTAINER=1 runs it")
    if os.geteuid() or not shutil.which("debootstrap"):
        pytest.skip("needs root and debootstrap")
    folder = tmp_path_factory.mktemp("container")
    yield Builder(folder, FOLDER / "Dockerfile", ROOT, index_arguments()).build("cpu")
    shutil.rmtree(folder)  # ten gigabytes


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_the_steps_make_a_container_that_embeds_and_serves(image: Image, tmp_path: Path) -> None:
    galleries, cache, token = tmp_path / "galleries", tmp_path / "cache", tmp_path / "token"
    for folder in (galleries, cache):
        folder.mkdir()
        os.chown(folder, 1000, 1000)
    shutil.copytree(photos.FOLDER, galleries / "photos")
    token.write_text(TOKEN)
    mounts = (f"{galleries}:/galleries", f"{cache}:/home/diantu/.cache")
    for words in ("embed --source photos --output gallery", "index --gallery gallery"):
        command = image.command(*image.entrypoint, *words.split(), mounts=mounts)
        subprocess.run(command, check=True, timeout=PATIENCE_SECONDS)

    sealed = (f"{mounts[0]}:ro", mounts[1], f"{token}:/run/secrets/token:ro")
    process = subprocess.Popen(image.command(*image.entrypoint, *image.cmd, mounts=sealed))
    try:
        wait_until(lambda: _first_process(process.pid), "its first process", pause=0.1)
        pid = _first_process(process.pid)
        wait_until(lambda: not _ran(image.entered(pid, *image.healthcheck)), "a container that is healthy", pause=1)
        found = json.loads(_posted(image, pid, {"text": "大熊猫", "k": 3}))
        assert found["hits"][0]["key"] == "animal_panda"
        assert int(_inside(image, pid, "import os; print(os.stat('/proc/1').st_uid)")) == 1000
        refused = "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v1/galleries')"
        assert _ran(image.entered(pid, "python3", "-c", refused)) == 1
        os.kill(pid, signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def _first_process(parent: int) -> int:
    """The process that `unshare` has started, once it has become the command."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(children[0]) if children and b"diantu" in Path(f"/proc/{children[0]}/cmdline").read_bytes() else 0


def _ran(command: list[str]) -> int:
    return subprocess.run(command, timeout=PATIENCE_SECONDS, stderr=subprocess.DEVNULL).returncode


def _inside(image: Image, pid: int, script: str) -> str:
    return subprocess.check_output(image.entered(pid, "python3", "-c", script), text=True, timeout=PATIENCE_SECONDS)


def _posted(image: Image, pid: int, body: dict) -> str:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    request = f"u.Request('http://127.0.0.1:8000/v1/search', {json.dumps(body).encode()!r}, {headers!r})"
    return _inside(image, pid, f"import urllib.request as u; print(u.urlopen({request}).read().decode())")
