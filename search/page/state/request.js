/** A state as the request of `/v1/search`. */

import { imageUrl } from "../service/api.js";
import { condition } from "./condition.js";
import { isQuery } from "./state.js";

export const PAGE = 60; // hits per request
export const WINDOW = 600; // nearest rows that are sorted or made diverse

/** What a tile shows of a row beside its caption. */
const COLUMNS = ["width", "height", "aspect", "brightness", "dominant_hue"];

/**
 * @param {object} state
 * @param {object} gallery an entry of `/v1/galleries`
 * @param {(id: string) => Promise<string>} picture gives a kept picture as a `data:` URL
 */
export async function searchRequest(state, gallery, picture) {
  const names = new Set(gallery.columns.map((column) => column.name));
  const where = condition(state, gallery.columns);
  const kept = COLUMNS.filter((column) => names.has(column));
  const request = { gallery: gallery.name, k: PAGE, columns: kept.length ? kept : ["key"] };
  Object.assign(request, await termsOf(state, gallery, picture));
  if (where) request.where = where;
  if (where && state.missing) request.missing = "include";
  if (zscoresApply(state, gallery) && state.zscore !== null) request.min_zscore = state.zscore;
  if (state.fold && gallery.has_duplicates) request.fold_duplicates = true;
  if (state.space) request.space = state.space;
  if (state.over) request.over = state.over;
  if (state.sort) request.sort_by = state.sort;
  else if (state.diversity) request.diversity = state.diversity;
  if (request.sort_by || request.diversity) request.window = WINDOW;
  return request;
}

/** Whether hits of this search have zscores: those of texts and images in the gallery's main space. */
export function zscoresApply(state, gallery) {
  const main = !state.space || state.space === gallery.spaces[0]?.name;
  return Boolean(gallery.has_zscores) && isQuery(state) && main && state.over !== "captions";
}

async function termsOf(state, gallery, picture) {
  if (!isQuery(state)) return { vector: direction(dimOf(state, gallery), state.seed) };
  const terms = { texts: [], rows: [], images: [], negatives: [] };
  if (state.text.trim()) terms.texts.push(state.text.trim());
  for (const { kind, value, weight, away } of state.terms) {
    if (kind === "text" && away) terms.negatives.push({ text: value, weight });
    else if (kind === "text") terms.texts.push({ text: value, weight });
    else if (kind === "row" && !away) terms.rows.push({ row: Number(value), weight });
    else {
      const image = kind === "picture" ? await picture(value) : rowAsUrl(gallery.name, value);
      terms[away ? "negatives" : "images"].push({ image, weight });
    }
  }
  return Object.fromEntries(Object.entries(terms).filter(([, list]) => list.length));
}

/** A row of the service by its address, which the service answers from the row itself. */
const rowAsUrl = (gallery, row) => new URL(imageUrl(gallery, { row }), document.baseURI).href;

const dimOf = (state, gallery) => (gallery.spaces.find((space) => space.name === state.space) ?? gallery.spaces[0]).dim;

/**
 * A direction of the space that a seed picks: the rows in the order of their similarity to it are a way to look around
 * that has pages, filters and a sort order like any search.
 */
export function direction(dim, seed) {
  let bits = seed >>> 0;
  const uniform = () => {
    // Mulberry32 by Tommy Ettinger (public domain).
    bits = (bits + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(bits ^ (bits >>> 15), 1 | bits);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return Array.from({ length: dim }, () => Number(normal().toFixed(4)));
}
