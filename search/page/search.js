/** From the state to results in the grid. Results that were just seen are kept, so that going back shows them at once. */

import { pictureData } from "./query/pictures.js";
import { Results } from "./grid/results.js";
import { now } from "./state/history.js";
import { searchRequest } from "./state/request.js";

const KEPT = 8;
const PATIENCE = 600; // milliseconds that old hits stay in view while new ones are searched for

export class Searches {
  /** @param {{gallery: () => object|null, changed: (results: Results|null, error: Error|null) => void}} page */
  constructor(grid, page) {
    this.grid = grid;
    this.page = page;
    this.kept = new Map(); // request as JSON → {results, place}
    this.results = null; // what the grid shows
    this.error = null;
    this.key = null; // of the request that was made last
    this.steps = new Map(); // row → index, for the row whose details are open
    grid.onExtend = (results) => this.#extended(results);
    history.scrollRestoration = "manual";
  }

  /** Shows the hits of a state, unless they are shown already. */
  async run(state, { anew = false } = {}) {
    const gallery = this.page.gallery();
    if (!gallery) return;
    let request, key;
    try {
      request = await searchRequest(state, gallery, pictureOf);
      key = JSON.stringify(request);
    } catch (error) {
      this.key = null;
      return this.#fail(error);
    }
    if (key === this.key && !anew) return;
    this.#keepPlace();
    this.pending?.stop();
    this.key = key;
    this.error = null;
    const kept = anew ? undefined : this.kept.get(key);
    if (kept) return this.#show(key, kept.results, kept.place);
    const results = new Results(request);
    this.pending = results;
    this.page.changed(null, null);
    const impatient = setTimeout(() => this.pending === results && this.#blank(), this.results ? PATIENCE : 0);
    await results.more();
    clearTimeout(impatient);
    if (this.key !== key || this.pending !== results) return;
    this.pending = null;
    if (results.error) {
      this.key = null;
      return this.#fail(results.error);
    }
    this.#show(key, results, null);
  }

  /** Searches again, for example after an error or a change of the gallery. */
  again() {
    if (this.results?.error && this.results.count) return this.results.more();
    this.kept.clear();
    return this.run(now(), { anew: true });
  }

  hitOf(row) {
    const index = this.#indexOf(row);
    return index === null ? null : this.results.item(index);
  }

  /** The row of the hit before (−1) or after (+1) another; asks for further hits at the end. */
  async step(row, by) {
    const index = this.#indexOf(row);
    if (index === null) return null;
    const next = index + by;
    if (next >= this.results.count && !this.results.done) await this.results.more();
    const hit = this.results.item(next);
    if (hit) this.steps.set(hit.row, next);
    return hit?.row ?? null;
  }

  /** Gives the focus to the tile of a row, if it is among the hits. */
  focus(row) {
    const index = this.#indexOf(row);
    if (index !== null) this.grid.activate(index);
  }

  #indexOf(row) {
    if (!this.results) return null;
    const known = this.steps.get(row);
    if (known !== undefined && this.results.item(known)?.row === row) return known;
    const index = this.results.indexOf(row);
    if (index === null) return null;
    this.steps.set(row, index);
    return index;
  }

  #show(key, results, place) {
    this.results = results;
    this.steps.clear();
    results.resume();
    this.kept.delete(key);
    this.kept.set(key, { results, place });
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    this.shownKey = key;
    this.grid.show(results);
    if (place) this.grid.goTo(place);
    else if (scrollY > 0) scrollTo({ top: 0, behavior: "instant" });
    this.page.changed(results, null);
  }

  #blank() {
    this.results = null;
    this.grid.show(null);
  }

  #fail(error) {
    if (error.name === "AbortError") return;
    this.error = error;
    this.results = null;
    this.grid.show(EMPTY_RESULTS);
    this.page.changed(null, error);
  }

  #extended(results) {
    if (results === this.results && !this.pending) this.page.changed(results, null);
  }

  #keepPlace() {
    const entry = this.kept.get(this.shownKey);
    if (entry && this.results === entry.results) entry.place = this.grid.place;
  }
}

const EMPTY_RESULTS = { count: 0, done: true, error: null, aspect: () => 1, item: () => null, more() {}, onChange() {} };

/** A kept picture for a request. */
async function pictureOf(id) {
  const data = await pictureData(id);
  if (data === null) throw Object.assign(new Error("the picture is not in this browser"), { kind: "picture" });
  return data;
}
