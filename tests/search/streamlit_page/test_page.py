"""The page of `diantu page`: as Streamlit's own tests see it, and once in Chromium."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from command_line import CommandLine
from servers import chromium, free_port, serving
from zygote import PATIENCE_SECONDS

from diantu.datasets import photos
from diantu.indexing import add_images, load_encoder

testing = pytest.importorskip("streamlit.testing.v1")
OWL = photos.FOLDER / "animal_owl.jpg"
EVIL = "**bold** <script>alert(1)</script> [link](javascript:alert(1)) :red[red] $x^2$"


def _script(gallery: str) -> None:
    """What `search/streamlit_page/script.py` does; Streamlit takes the source of this function."""
    from diantu.search.streamlit_page.page import show

    show(gallery)


def opened(gallery: Path):
    """The page of a gallery, as it is at first."""
    page = testing.AppTest.from_function(_script, args=(str(gallery),), default_timeout=PATIENCE_SECONDS).run()
    assert not page.exception
    return page


def texts(page) -> list[str]:
    assert not page.exception, page.exception
    return [element.value for element in page.text]


def test_a_text_finds_images_in_both_languages(demo: Path) -> None:
    page = opened(demo / "gallery")
    assert texts(page) == ["184 images"]
    page.text_input(key="text").set_value("大熊猫").run()
    found = texts(page)
    assert found[1].startswith("12 hits in ")
    assert found[2] == "a giant panda"
    assert found[3].startswith("1   0.949   z +5.9   animal_panda")
    assert [button.label for button in page.button] == ["More like this"] * 12
    page.segmented_control(key="language").set_value("zh").run()
    assert texts(page)[0] == "184 张图片"
    assert texts(page)[1].startswith("12 条结果，用时 ")


def test_the_path_of_an_image_finds_it(demo: Path) -> None:
    page = opened(demo / "gallery")
    page.segmented_control(key="mode").set_value("path").run()
    page.text_input(key="path").set_value(str(OWL)).run()
    assert "animal_owl" in texts(page)[3]
    page.text_input(key="path").set_value("/no/such.jpg").run()
    assert page.warning[0].value == "This search is not possible:"
    assert "/no/such.jpg cannot be read" in texts(page)[-1]


def test_options_narrow_the_search_and_more_like_this_leaves_it(demo: Path) -> None:
    page = opened(demo / "gallery")
    page.slider(key="k").set_value(3)
    page.text_input(key="where").set_value("category = 'tool'")
    page.text_input(key="text").set_value("hammer").run()
    assert texts(page)[1].startswith("3 hits in ")
    page.button[0].click().run()
    assert page.button[0].label == "Back to the search"
    assert texts(page)[1].startswith("3 hits in ")
    assert " 1.000 " in texts(page)[3]  # the image itself is first
    page.button[0].click().run()
    assert page.text_input(key="text").value == "hammer"
    page.slider(key="min_zscore").set_value(10.0).run()
    assert texts(page)[1] == "No image of the gallery matches."
    page.text_input(key="where").set_value("colour = 'red'").run()
    assert "colour" in texts(page)[-1]
    assert "dominant_color" in texts(page)[-1]


def test_texts_of_strangers_are_no_markup(tmp_path: Path) -> None:
    gallery = tmp_path / "g"
    add_images(gallery, [(f"key {EVIL}", OWL, {"caption": f"{EVIL}\nsecond line"})], load_encoder("conse"))
    page = opened(gallery)
    page.text_input(key="text").set_value("owl").run()
    assert texts(page)[2] == f"{EVIL} second line"
    assert f"key {EVIL}" in texts(page)[3]
    page.text_input(key="where").set_value(f'"{EVIL}" > 1').run()
    assert EVIL in texts(page)[-1]
    marked = [*page.markdown, *page.header, *page.warning, *page.caption, *page.error]
    assert not [element for element in marked if "bold" in element.value]


@pytest.mark.slow
def test_the_page_in_a_browser(demo: Path) -> None:
    port = free_port()
    asked: set[str] = set()
    command = ("page", "--gallery", demo / "gallery", "--port", str(port))
    with chromium() as browser, serving(*command, port=port, ready="/_stcore/health") as address:
        page = browser.new_context(locale="zh-CN").new_page()
        page.set_default_timeout(1000 * PATIENCE_SECONDS)
        page.on("request", lambda request: asked.add(request.url))
        page.on("websocket", lambda websocket: asked.add(websocket.url))
        page.goto(address)
        page.get_by_label("想找什么图？").fill("大熊猫")
        page.get_by_label("想找什么图？").press("Enter")
        page.get_by_text("animal_panda").wait_for()
        image = page.locator("img").first
        image.wait_for()
        page.wait_for_function("() => document.images.length && [...document.images].every(i => i.naturalWidth > 100)")
        page.get_by_text("上传图片").click()
        page.locator("input[type=file]").set_input_files(OWL)
        page.get_by_text("animal_owl").first.wait_for()
        page.get_by_text("English").click()
        page.get_by_text("12 hits in").wait_for()
    assert {urlsplit(url).netloc for url in asked if not url.startswith(("data:", "blob:"))} == {f"127.0.0.1:{port}"}


def test_what_cannot_be_served_is_refused_before_the_page_starts(
    demo: Path, tmp_path: Path, diantu: CommandLine
) -> None:
    done = diantu("page", "--gallery", tmp_path / "none")
    assert done.returncode == 2
    assert "diantu embed" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = diantu("page", "--gallery", demo / "gallery", "--port", port)
    assert done.returncode == 2
    assert f"port {port} of 127.0.0.1 cannot be used (Address already in use)" in done.stderr
    assert "port is 0" in diantu("page", "--gallery", demo / "gallery", "--port", "0").stderr
