/** What stands where hits would: nothing matches, the gallery is empty, or something went wrong; and what to do then. */

import { byId, el } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { number, t } from "../base/i18n.js";
import { go } from "../state/history.js";
import { isFiltered, NO_QUERY } from "../state/state.js";

const LOOSE = { zscore: null, row: null };
const UNFILTERED = { filters: {}, where: "", missing: false, row: null };

/** @returns {{drawing, title, text, acts: [string, object|null][]}|null} null where hits are shown */
export function messageFor(state, gallery, results, error) {
  if (error) return failure(state, error);
  if (!results || results.count > 0 || !results.done) return null;
  if (gallery?.rows === 0) return { drawing: "picture", title: t("emptyGallery"), text: t("emptyGalleryNote"), acts: [] };
  const acts = [];
  if (state.zscore !== null) acts.push([t("showNearest"), LOOSE]);
  if (isFiltered(state)) acts.push([t("clearFilters"), UNFILTERED]);
  acts.push([t("lookAround"), { ...NO_QUERY, ...LOOSE, ...UNFILTERED }]);
  const rows = results.first?.explain.rows;
  let text = t("noMatchNote");
  if (rows === 0) text = t("noRows");
  else if (state.zscore !== null) text = t("noneAbove", { zscore: number(state.zscore, 1) });
  return { drawing: "search", title: t("noMatch"), text, acts };
}

function failure(state, error) {
  if (error.kind === "picture") return { drawing: "picture", title: t("pictureGone"), text: t("pictureGoneNote"), acts: [[t("lookAround"), NO_QUERY]] };
  if (error.status === 0) return { drawing: "warning", title: t("unreachable"), text: t("unreachableNote"), acts: [[t("retry"), null]] };
  const title = error.status >= 500 || error.status === 429 ? t("failed") : t("refused");
  const acts = [[t("retry"), null]];
  if (isFiltered(state)) acts.unshift([t("clearFilters"), UNFILTERED]);
  return { drawing: "warning", title, text: error.message, acts };
}

export function showMessage({ drawing, title, text, acts }, { retry }) {
  const root = byId("message");
  root.hidden = false;
  root.setAttribute("role", drawing === "warning" ? "alert" : "status");
  root.replaceChildren(
    icon(drawing),
    el("h2", { text: title }),
    el("p", { text, dir: "auto" }),
    el("div", { class: "acts" }, ...acts.map(([label, changes], place) =>
      el("button", { type: "button", class: place === 0 ? "primary" : "action", text: label, on: { click: () => (changes ? go(changes) : retry()) } }))),
  );
}

export function hideMessage() {
  byId("message").hidden = true;
  byId("message").replaceChildren();
}
