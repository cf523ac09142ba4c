"""The real clients of clip-retrieval: its Python client, and its page in a browser.

The wheel of clip-retrieval has both. It is installed without its dependencies into a folder of its own, which is kept
for the next run.
"""

from __future__ import annotations

import contextlib
import functools
import http.server
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from galleries import keyed
from pictured import picture, write_images
from planted import plant, unit
from servers import chromium
from services import DIM, running

RELEASE = "2.45.0"
# Its package imports FAISS, Flask and torch, so the module of the client is loaded without the package.
_ASK = """
import importlib.util, json, sys
sys.path.insert(0, {folder!r})
spec = importlib.util.spec_from_file_location("clip_client", {folder!r} + "/clip_retrieval/clip_client.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
client = module.ClipClient(url={url!r}, modality=module.Modality({modality!r}), **{options!r})
print(json.dumps([client.query(**asked) for asked in {queries!r}]))
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The folder that clip-retrieval and what its client imports are installed in."""
    folder = Path.home() / ".cache" / "diantu-tests" / f"clip-retrieval-{RELEASE}"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        if importlib.util.find_spec("pip") is None:
            pytest.skip("pip is not installed, so clip-retrieval cannot be installed")
        partial = Path(tempfile.mkdtemp(dir=folder.parent))
        for packages in ([f"clip-retrieval=={RELEASE}", "--no-deps"], ["requests>=2.28"]):
            command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(partial), *packages]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                shutil.rmtree(partial, ignore_errors=True)
                pytest.skip(f"clip-retrieval {RELEASE} cannot be installed: {done.stderr.splitlines()[-1:]}")
        try:
            partial.rename(folder)
        except OSError:  # another worker was first
            shutil.rmtree(partial)
    return folder


def ask(wheel: Path, url: str, queries: list[dict[str, Any]], *, modality: str = "image", **options: Any) -> list[Any]:
    """What the real client answers to some queries; it runs with nothing else installed."""
    options = {"indice_name": "g", **options}
    script = _ASK.format(
        folder=str(wheel), url=f"{url}knn-service", modality=modality, options=options, queries=queries
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 rows with images in a tar, and captions with vectors."""
    colors = [(row * 40 % 256, row * 90 % 256, row * 7 % 256) for row in range(90)]
    images = {f"{row:02d}": picture(color, (300, 200)) for row, color in enumerate(colors)}
    return write_images(tmp_path_factory.mktemp("clients"), images, texts=True)


def get(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=100) as answer:
        return json.load(answer)


def test_the_python_client(wheel: Path, gallery: Path, tmp_path: Path) -> None:
    (tmp_path / "query.png").write_bytes(picture("orange", kind="PNG"))
    vector = [0.5] * DIM
    with running(gallery, deadline=200.0) as url:
        queries = [
            {"text": "a castle"}, {"image": str(tmp_path / "query.png")}, {"embedding_input": vector},
            {"image": f"{url}v1/rows/7/image"}, {"image": "http://192.0.2.1/x.jpg"},
        ]  # fmt: skip
        text, image, embedding, own, refused = ask(wheel, url, queries, num_images=10, deduplicate=False)
        (captions,) = ask(wheel, url, [{"text": "a castle"}], modality="text", num_images=10, deduplicate=False)
        (unknown,) = ask(wheel, url, [{"text": "a castle"}], indice_name="laion5B")
        hits = get(f"{url}v1/search", {"text": "a castle", "k": 10})["hits"]
        over = get(f"{url}v1/search", {"text": "a castle", "k": 10, "over": "captions"})["hits"]
        near = get(f"{url}v1/search", {"vector": vector, "k": 10})["hits"]
    for results, expected in ((text, hits), (captions, over), (embedding, near)):
        assert [result["id"] for result in results] == [hit["row"] for hit in expected]
        assert [result["caption"] for result in results] == [hit["caption"] for hit in expected]
        assert [result["similarity"] for result in results] == pytest.approx(
            [hit["score"] for hit in expected], abs=1e-5
        )
    assert [hit["row"] for hit in over] != [hit["row"] for hit in hits]
    assert len(image) == len(own) == 10
    assert (refused["status"], unknown["status"]) == (403, 404)


def test_the_python_client_with_64_bit_ids_and_defaults(wheel: Path, tmp_path: Path) -> None:
    emb_ND = unit(np.random.default_rng(1).standard_normal((50, DIM)))
    records = [{**record, "aesthetic": 5.0, "punsafe": 0.1} for record in keyed(50)[0]]
    with running(plant(tmp_path / "g", emb_ND, records), deadline=200.0) as url:
        (results,) = ask(wheel, url, [{"text": "a castle"}])  # 40 images, deduplicated, safe, aesthetic score 9
    assert 0 < len(results) <= 40
    assert {"id", "similarity", "caption", "aesthetic"} <= results[0].keys()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def hosted(build: Path, config: dict[str, Any]) -> Iterator[str]:
    """The page on a server of its own, with a `config.json`: its URL."""
    (build / "config.json").write_text(json.dumps(config))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(build)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_page_in_a_browser(wheel: Path, gallery: Path, tmp_path: Path) -> None:
    """It searches by text, by a result, over captions, and reads more metadata while it is scrolled."""
    build = tmp_path / "build"
    shutil.copytree(wheel / "front" / "build", build)
    with contextlib.ExitStack() as stack:
        page_url = stack.enter_context(hosted(build, {}))
        url = stack.enter_context(running(gallery, cors=(page_url,), deadline=200.0))
        (build / "config.json").write_text(json.dumps(get(f"{url}config.json")))
        page = stack.enter_context(chromium()).new_page(viewport={"width": 900, "height": 600})
        page.set_default_timeout(120_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        more: list[Any] = []
        page.on("response", lambda response: more.append(response) if response.url.endswith("//metadata") else None)
        page.goto(page_url)
        indices = page.locator("select").first.locator("option")
        indices.first.wait_for(state="attached")
        assert indices.all_inner_texts() == ["g"]  # from //indices-list

        def search(act: Any) -> list[dict[str, Any]]:
            with page.expect_response(lambda response: response.url.endswith("//knn-service")) as waiting:
                act()
            assert waiting.value.status == 200, waiting.value.text()
            return waiting.value.json()

        def shown(count: int) -> list[str]:
            page.wait_for_function(_LOADED, arg=count)
            return page.locator("#products img.pic").evaluate_all("all => all.map(each => each.title)")

        def by_text() -> None:
            page.locator("#searchBar").fill("a castle")
            page.locator("#searchBar").press("Enter")

        results = search(by_text)
        kept = [result["caption"] for result in results if "caption" in result]
        assert len(kept) == min(40, len(results)) > 10
        assert shown(len(kept))[: len(kept)] == kept
        if len(results) > 40:
            if not more:  # the page may have asked already
                with page.expect_response(lambda response: response.url.endswith("//metadata")):
                    page.mouse.wheel(0, 20_000)
            further = [each["id"] for each in results[40:]]
            read = sorted((each["id"] for response in more for each in response.json()), key=further.index)
            assert len(read) >= min(40, len(further))
            assert read == further[: len(read)]
        first = page.locator("figure").first
        first.hover()
        alike = search(lambda: first.locator(".subImageSearch").click())
        by_image = {"modality": "image", "image": results[0]["image"], "num_images": 40, "num_result_ids": 3000}
        by_image |= {"deduplicate": True, "use_safety_model": True, "indice_name": "g"}
        assert alike == get(f"{url}knn-service", by_image)
        page.locator("#searchBar").fill("a castle")
        search(lambda: page.locator("#textSearch").click())
        over = search(lambda: page.locator("select").nth(2).select_option("text"))
        assert [each["id"] for each in over] != [each["id"] for each in results]
        page.screenshot(path=tmp_path / "page.png")
        assert not errors


_LOADED = """count => {
    const all = [...document.querySelector("clip-front").shadowRoot.querySelectorAll("#products img.pic")];
    return all.length >= count && all.slice(0, count).every(each => each.complete && each.naturalWidth > 0);
}"""
