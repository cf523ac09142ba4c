"""The grid: order, endless scrolling with a bounded document, and nothing that jumps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from browsing import Browsing

from diantu.search import Gallery

Browse = Callable[..., Browsing]

# A grid of a million images in the page itself, without a service.
_MILLION = """async ({ Grid }) => {
  document.body.replaceChildren(document.createElement("div"));
  const root = document.body.firstChild;
  root.id = "grid"; root.className = "grid";
  const source = {
    count: 0, done: false, error: null, onChange() {},
    aspect: (index) => [1.5, 0.7, 1, 1.33, 2][index % 5],
    item: (index) => ({ index }),
    more() { this.count = Math.min(this.count + 50000, 1e6); this.done = this.count === 1e6; this.onChange(); },
  };
  const grid = new Grid(root, (item, index) => {
    const tile = document.createElement("div");
    tile.className = "tile"; tile.dataset.index = index; tile.append(document.createElement("a"));
    return tile;
  });
  grid.show(source);
  while (!source.done) source.more();
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
  let most = 0, seen = [];
  for (const index of [0, 1000, 250000, 500000, 750000, 999999, 300000, 0]) {
    grid.activate(index);
    await frame();
    most = Math.max(most, document.querySelectorAll(".tile").length);
    const box = grid.tile(index).getBoundingClientRect();
    seen.push(box.top >= 0 && box.bottom <= innerHeight);
  }
  // Down and up by hand through the places where the stretch is moved.
  grid.activate(400000);
  const before = grid.place.index;
  for (let step = 0; step < 25; step++) { scrollBy(0, 250000); await frame(); }
  const between = grid.place.index;
  for (let step = 0; step < 25; step++) { scrollBy(0, -250000); await frame(); }
  return { most, seen, height: root.offsetHeight, before, between, after: grid.place.index };
}"""


def test_a_million_images_keep_the_document_small(browse: Browse) -> None:
    browsing = browse()
    browsing.rows()
    browsing.page.wait_for_selector("#filters .swatch", state="attached")  # nothing else draws itself afterwards
    found = browsing.module("grid/grid.js", _MILLION)
    assert found["seen"] == [True] * 8
    assert found["most"] < 200
    assert found["height"] < 9_000_000  # browsers place nothing beyond some 16 million pixels
    assert found["before"] == found["after"]
    assert found["between"] > found["before"] + 50_000


def test_scrolling_shows_every_row_once_in_the_order_of_the_search(browse: Browse, demo: Path) -> None:
    gallery = Gallery.open(demo / "gallery")
    browsing = browse("?q=castle")
    seen = dict(enumerate(browsing.rows()))
    while len(seen) < len(gallery):
        browsing.page.evaluate("scrollBy(0, 600)")
        browsing.page.wait_for_timeout(60)
        shown = browsing.indexed_rows() or []
        assert len(shown) < 100
        assert all(seen.setdefault(index, row) == row for index, row in shown)
    assert [seen[index] for index in sorted(seen)] == [hit.row for hit in gallery.search("castle", k=len(gallery))]
    assert [request["offset"] for request in browsing.asked] == [0, 60, 120, 180]


def test_boxes_have_their_places_before_images_come(browse: Browse) -> None:
    browsing = browse()
    browsing.rows()
    browsing.page.route("**/thumbnail?**", lambda route: None)  # no image comes for now
    browsing.type("castle")
    browsing.until(lambda: bool(browsing.asked[-1].get("texts") and browsing.indexed_rows()), "castles are shown")
    boxes = """() => [...document.querySelectorAll('.tile')].map((tile) => {
      const { x, y, width, height } = tile.getBoundingClientRect();
      return [x, y, width, height, tile.dataset.index];
    })"""
    before = browsing.page.evaluate(boxes)
    shapes = browsing.page.evaluate(
        "() => [...document.querySelectorAll('.tile')].map(tile => getComputedStyle(tile).backgroundColor)"
    )
    assert len(set(shapes)) > 3  # each in the colour of its image
    browsing.page.unroute("**/thumbnail?**")
    browsing.page.reload()
    browsing.page.wait_for_selector(".tile.loaded")
    browsing.page.wait_for_function("() => [...document.querySelectorAll('.tile img')].every(image => image.complete)")
    assert browsing.page.evaluate(boxes) == before


def test_another_width_keeps_the_place(browse: Browse) -> None:
    browsing = browse("?q=castle")
    browsing.rows()
    browsing.page.evaluate("scrollTo(0, 2500)")
    browsing.until(lambda: (browsing.indexed_rows() or [[0]])[0][0] > 5, "the grid follows")
    top = """() => Math.min(...[...document.querySelectorAll('.tile')]
      .filter((tile) => tile.getBoundingClientRect().bottom > 80).map((tile) => Number(tile.dataset.index)))"""
    before = browsing.page.evaluate(top)
    browsing.page.set_viewport_size({"width": 700, "height": 800})
    browsing.page.wait_for_timeout(300)
    assert abs(browsing.page.evaluate(top) - before) <= 4  # the same image is in the first rows


def test_going_back_returns_to_the_place(browse: Browse) -> None:
    browsing = browse("?q=castle")
    browsing.rows()
    browsing.page.evaluate("scrollTo(0, 1500)")
    browsing.until(lambda: (browsing.indexed_rows() or [[0]])[0][0] > 0, "the grid follows")
    browsing.page.evaluate(
        "history.pushState({inside: true}, '', '?q=hammer'); dispatchEvent(new PopStateEvent('popstate'))"
    )
    browsing.until(lambda: browsing.asked[-1].get("texts") == ["hammer"] and bool(browsing.indexed_rows()), "hammers")
    assert browsing.page.evaluate("scrollY") == 0
    browsing.page.go_back()
    browsing.until(lambda: abs(browsing.page.evaluate("scrollY") - 1500) < 2, "the place is found again")


def test_an_image_that_cannot_be_read_leaves_its_caption(browse: Browse) -> None:
    browsing = browse()
    browsing.expected = ("404",)
    browsing.open("?g=strangers&and=row:5")
    browsing.page.wait_for_selector(".tile.gone")
    assert browsing.page.locator(".tile.gone").count() == 1
