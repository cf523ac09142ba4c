/**
 * The hits as justified rows in the window's own scrolling. Only the tiles near the window are in the document, however
 * many hits there are.
 */

import { el } from "../base/dom.js";
import { Rows, shown } from "./justified.js";

const NEAR = 1; // windows above and below whose tiles are kept
const AHEAD = 3; // windows below the last row in which the next page is asked for
// Browsers place nothing beyond some 16 million pixels. Longer lists are shown through a stretch of this height, which
// is moved along the list when somebody comes near its end.
const STRETCH = 8_000_000;
const WAITING = [1.5, 0.8, 1.2, 1.6, 0.7, 1.33, 1, 1.5, 0.75, 1.8]; // aspects of the boxes that wait for images

export class Grid {
  /**
   * @param {HTMLElement} root
   * @param {(item: object|null, index: number, width: number, height: number) => HTMLElement} makeTile
   */
  constructor(root, makeTile) {
    this.root = root;
    this.makeTile = makeTile;
    this.tiles = new Map(); // index → element
    this.active = 0; // the tile that the Tab key reaches
    this.waiting = el("div", { class: "waiting", "aria-hidden": "true" });
    this.root.append(this.waiting);
    this.#clear(null);
    let frame = 0;
    this.soon = () => (frame ||= requestAnimationFrame(() => {
      frame = 0;
      this.render();
    }));
    addEventListener("scroll", this.soon, { passive: true });
    addEventListener("resize", this.soon);
    new ResizeObserver(() => this.#resize()).observe(root);
  }

  /** Shows results: `{count, done, aspect(index), item(index), more(), onChange}`; null shows boxes that wait. */
  show(source, active = 0) {
    if (this.source) this.source.onChange = () => {};
    this.#clear(source);
    this.active = active;
    if (source === null) return this.render();
    source.onChange = () => this.#extend();
    this.#extend();
  }

  /** Makes the tiles anew, for example in another language. */
  redraw() {
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.render();
  }

  /** Where the window is: the first visible image and how far below the top of the window it begins. */
  get place() {
    const y = -this.root.getBoundingClientRect().top + this.base;
    const row = this.rows.at(Math.max(y, 0));
    return { index: this.rows.starts[row], below: this.rows.tops[row] - y };
  }

  /** Scrolls so that an image is where `place` said. The page must have been loaded. */
  goTo({ index, below }) {
    const top = this.rows.tops[this.rows.of(index)] - below;
    this.#reach(top);
    scrollBy({ top: this.root.getBoundingClientRect().top + top - this.base, behavior: "instant" });
    this.render();
  }

  /** Makes a tile the active one, and brings it into view. */
  activate(index, { focus = true } = {}) {
    if (!this.source || index < 0 || index >= this.rows.starts.at(-1)) return false;
    reach(this.tile(this.active), false);
    this.active = index;
    this.#reveal(this.rows.of(index));
    this.render();
    reach(this.tile(index), true);
    if (focus) this.tile(index)?.querySelector("a")?.focus({ preventScroll: true });
    return true;
  }

  tile(index) {
    return this.tiles.get(index);
  }

  /** The active tile if it is in view, else the first that is. */
  firstVisible() {
    const { index, below } = this.place;
    const row = this.rows.of(this.active);
    const y = this.rows.tops[row] - this.rows.tops[this.rows.of(index)] + below;
    if (this.tile(this.active) && y >= 0 && y < innerHeight) return this.active;
    return below < 0 ? (this.beside(index, 1) ?? index) : index;
  }

  get lastIndex() {
    return this.rows.starts.at(-1) - 1;
  }

  /** The image above (−1) or below (+1) another: the one in the next row whose middle is closest. */
  beside(index, direction) {
    const row = this.rows.of(index);
    const other = row + direction;
    if (other < 0 || other >= this.rows.count) return null;
    const middle = (place) => place.x + place.width / 2;
    const from = middle(this.#places(row).find((place) => place.index === index));
    const places = this.#places(other);
    return places.reduce((best, place) => (Math.abs(middle(place) - from) < Math.abs(middle(best) - from) ? place : best)).index;
  }

  render() {
    const top = this.root.getBoundingClientRect().top;
    this.#move(top);
    const y = -this.root.getBoundingClientRect().top + this.base;
    const height = innerHeight;
    const near = new Set();
    if (this.rows.count) {
      const last = this.rows.at(y + (1 + NEAR) * height);
      for (let row = this.rows.at(Math.max(0, y - NEAR * height)); row <= last; row++) {
        for (const place of this.#places(row)) {
          near.add(place.index);
          this.#put(place);
        }
      }
    }
    for (const [index, tile] of this.tiles) {
      if (near.has(index) || tile.contains(document.activeElement)) continue;
      tile.remove();
      this.tiles.delete(index);
    }
    this.#wait(y, height);
    if (this.source && !this.source.done && !this.source.error && y + (1 + AHEAD) * height > this.rows.total) this.source.more();
  }

  #clear(source) {
    this.source = source;
    this.rows = new Rows(this.root.clientWidth || 1000);
    this.base = 0;
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.#size();
  }

  #extend() {
    this.rows.extend((index) => this.source.aspect(index), this.source.count, this.source.done);
    this.#size();
    this.onExtend?.(this.source);
    this.render();
  }

  #resize() {
    const width = this.root.clientWidth;
    if (!width || width === this.rows.width) return;
    const place = this.rows.count ? this.place : null;
    this.rows = new Rows(width);
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    if (!this.source) return this.render();
    this.rows.extend((index) => this.source.aspect(index), this.source.count, this.source.done);
    this.#size();
    // What was in view stays in view; at the very top the page stays at the top.
    if (place && place.index > 0) this.goTo(place);
    else this.render();
  }

  /** Moves the stretch along the list when the window comes near one of its ends. */
  #move(top) {
    const y = -top;
    const step = STRETCH / 2;
    if (y > 0.75 * STRETCH && this.rows.total - this.base > STRETCH) this.#shift(step);
    else if (y < 0.25 * STRETCH && this.base > 0) this.#shift(-Math.min(step, this.base));
  }

  #shift(by) {
    this.#rebase(this.base + by);
    scrollBy({ top: -by, behavior: "instant" });
  }

  /** Moves the stretch so that it has a height of the list in it. */
  #reach(y) {
    if (y >= this.base && y + innerHeight <= this.base + STRETCH) return;
    this.#rebase(Math.max(0, Math.min(y - STRETCH / 2, this.rows.total - STRETCH)));
  }

  #rebase(base) {
    this.base = base;
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.#size();
  }

  #size() {
    const room = this.source === null || !this.source?.done ? 2 * (this.rows.height + this.rows.gap) : 0;
    const height = Math.min(this.rows.total - this.base, STRETCH) + room;
    this.root.style.height = `${Math.max(height, this.source?.done ? 0 : innerHeight)}px`;
  }

  /** Where the images of a row are in the stretch: `{index, x, y, width, height}`. */
  #places(row) {
    const { starts, tops, heights, gap, width } = this.rows;
    const height = heights[row];
    const places = [];
    let x = 0;
    for (let index = starts[row]; index < starts[row + 1]; index++) {
      const wide = Math.min(shown(this.source.aspect(index)) * height, width - x);
      places.push({ index, x, y: tops[row] - this.base, width: wide, height });
      x += wide + gap;
    }
    return places;
  }

  #put({ index, x, y, width, height }) {
    let tile = this.tiles.get(index);
    const item = this.source.item(index);
    if (tile && item && tile.dataset.waiting) {
      tile.remove();
      tile = undefined;
    }
    if (tile) return;
    tile = this.makeTile(item, index, width, height);
    if (!item) tile.dataset.waiting = "";
    tile.style.width = `${width}px`;
    tile.style.height = `${height}px`;
    tile.style.transform = `translate(${x}px, ${y}px)`;
    reach(tile, index === this.active);
    this.tiles.set(index, tile);
    this.root.insertBefore(tile, this.#after(index));
  }

  /** The tile that comes next in the order of the hits, in which screen readers read them. */
  #after(index) {
    let next = this.waiting, least = Infinity;
    for (const [other, tile] of this.tiles) {
      if (other > index && other < least && tile.parentNode === this.root) [next, least] = [tile, other];
    }
    return next;
  }

  /** Boxes where the next images will be. */
  #wait(y, height) {
    const { total, gap, height: tall, width } = this.rows;
    const missing = this.source === null || (!this.source.done && !this.source.error);
    const visible = missing && y + 2 * height > total;
    this.waiting.hidden = !visible;
    if (!visible) return;
    this.waiting.style.transform = `translateY(${total - this.base}px)`;
    const rows = this.source === null || this.rows.count === 0 ? Math.ceil(height / tall) : 2;
    const key = `${width} ${rows}`;
    if (this.waiting.dataset.key === key) return;
    this.waiting.dataset.key = key;
    this.waiting.replaceChildren(...boxes(rows, width, tall, gap));
  }

  #reveal(row) {
    this.#reach(this.rows.tops[row]);
    const top = this.rows.tops[row] - this.base + this.root.getBoundingClientRect().top;
    const bottom = top + this.rows.heights[row];
    const margin = document.getElementById("bar")?.offsetHeight ?? 0;
    const room = this.rows.gap;
    if (top < margin + room) scrollBy({ top: top - margin - room, behavior: "instant" });
    else if (bottom > innerHeight - room) scrollBy({ top: bottom - innerHeight + room, behavior: "instant" });
  }
}

/** Whether the Tab key stops at a tile: at one of them only, the arrow keys lead to the others. */
function reach(tile, yes) {
  for (const node of tile?.querySelectorAll("a, button") ?? []) node.tabIndex = yes ? 0 : -1;
}

function boxes(rows, width, height, gap) {
  const found = [];
  let number = 0;
  for (let row = 0; row < rows; row++) {
    for (let x = 0; x < width - gap; ) {
      let wide = Math.min(WAITING[number++ % WAITING.length] * height, width - x);
      if (width - x - wide < height / 2) wide = width - x;
      const transform = `translate(${x}px, ${row * (height + gap)}px)`;
      found.push(el("div", { class: "box", style: { width: `${wide}px`, height: `${height}px`, transform } }));
      x += wide + gap;
    }
  }
  return found;
}
