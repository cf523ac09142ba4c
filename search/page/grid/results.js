/**
 * The hits of one search, page by page. What the layout needs of a hit, its aspect, is kept for all of them; the rest
 * only for the pages used last, and it is asked for again when somebody scrolls back.
 */

import * as api from "../service/api.js";
import { PAGE } from "../state/request.js";

const KEPT = 50; // pages

export class Results {
  /** @param {object} request of `/v1/search`, without an offset */
  constructor(request) {
    this.request = request;
    this.count = 0;
    this.done = false;
    this.first = null; // the first answer, without its hits
    this.changed = false; // whether the gallery has another version now than at the first answer
    this.error = null;
    this.onChange = () => {};
    this.aspects = new Float32Array(4 * PAGE);
    this.pages = new Map(); // number → hits, the least recently used first
    this.running = new Map(); // number → promise
    this.stopped = new AbortController();
  }

  aspect(index) {
    return this.aspects[index];
  }

  /** The hit at an index, or null while its page is on its way. */
  item(index) {
    const number = Math.floor(index / PAGE);
    const page = this.pages.get(number);
    if (page === undefined) {
      if (index < this.count) this.#load(number).catch(() => {});
      return null;
    }
    this.pages.delete(number);
    this.pages.set(number, page);
    return page[index % PAGE] ?? null;
  }

  /** The index of a row among the pages that are kept; null where it is not. */
  indexOf(row) {
    for (const [number, page] of this.pages) {
      const place = page.findIndex((hit) => hit.row === row);
      if (place >= 0) return number * PAGE + place;
    }
    return null;
  }

  /** Asks for the next page. A page that failed is asked for again by the next call. */
  async more() {
    if (this.done || this.running.size) return;
    try {
      this.error = null;
      await this.#load(Math.floor(this.count / PAGE));
    } catch (error) {
      if (error.name === "AbortError") return;
      this.error = error;
      this.onChange();
    }
  }

  stop() {
    this.stopped.abort();
  }

  /** Allows requests again after `stop`, for results that are shown again. */
  resume() {
    if (this.stopped.signal.aborted) this.stopped = new AbortController();
  }

  #load(number) {
    if (!this.running.has(number)) {
      this.running.set(number, this.#ask(number).finally(() => this.running.delete(number)));
      this.running.get(number).then(() => this.onChange(), () => {});
    }
    return this.running.get(number);
  }

  async #ask(number) {
    const offset = number * PAGE;
    const k = Math.min(PAGE, (this.request.window ?? Infinity) - offset);
    const { hits, ...answer } = await api.search({ ...this.request, k, offset }, this.stopped.signal);
    this.first ??= answer;
    this.changed ||= answer.version !== this.first.version;
    this.pages.set(number, hits);
    if (this.pages.size > KEPT) this.pages.delete(this.pages.keys().next().value);
    if (offset >= this.count) this.#append(hits);
    if (offset + hits.length >= this.count && (hits.length < PAGE || offset + PAGE >= (this.request.window ?? Infinity))) this.done = true;
  }

  #append(hits) {
    if (this.count + hits.length > this.aspects.length) {
      const larger = new Float32Array(2 * this.aspects.length);
      larger.set(this.aspects);
      this.aspects = larger;
    }
    for (const hit of hits) this.aspects[this.count++] = aspectOf(hit.metadata);
  }
}

/** Width ÷ height of a row's image; 1 where the gallery does not know it. */
export function aspectOf({ width, height, aspect }) {
  const known = width > 0 && height > 0 ? width / height : aspect;
  return Number.isFinite(known) && known > 0 ? known : 1;
}
