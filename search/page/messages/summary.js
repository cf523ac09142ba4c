/** One line above the hits: what is shown, how many rows it was chosen from, and how long that took. */

import { byId, el } from "../base/dom.js";
import { number, t } from "../base/i18n.js";
import { isFiltered, isQuery } from "../state/state.js";
import { zscoresApply } from "../state/request.js";

const CLEAR = 3; // standard deviations: below, a hit is hardly better than any image with any words

export function showSummary(state, gallery, results, again) {
  const root = byId("summary");
  if (!results?.first || !gallery) {
    root.classList.toggle("stale", root.childNodes.length > 0);
    return;
  }
  root.classList.remove("stale");
  const { explain, took_ms: milliseconds } = results.first;
  const rows = explain.rows ?? gallery.rows;
  const parts = [];
  if (results.count === 0) parts.length = 0; // the message below says it
  else if (isQuery(state)) parts.push(t("nearestOf", { count: rows }), t("took", { ms: number(milliseconds, milliseconds < 10 ? 1 : 0) }));
  else if (isFiltered(state)) parts.push(t("matching", { count: rows }));
  const nodes = parts.flatMap((text, place) => [place > 0 && el("span", { class: "dot", text: "·", "aria-hidden": "true" }), el("span", { text })]).filter(Boolean);
  if (results.changed) nodes.push(el("button", { type: "button", class: "text", text: t("changed"), on: { click: again } }));
  const best = results.item(0)?.zscore;
  if (results.count && Number.isFinite(best) && best < CLEAR && zscoresApply(state, gallery) && !state.sort) {
    nodes.push(el("span", { class: "unclear", text: t("unclear") }));
  }
  const text = nodes.map((node) => node.textContent).join(" ");
  if (root.dataset.text === text) return; // screen readers read it again whenever it changes
  root.dataset.text = text;
  root.replaceChildren(...nodes);
}
