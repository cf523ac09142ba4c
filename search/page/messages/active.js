/** The filters in force as chips above the hits, each with a way to remove it. */

import { byId, el } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { colorName, columnName, number, t } from "../base/i18n.js";
import { SWATCHES } from "../filters/colors.js";
import { SHAPES } from "../filters/shapes.js";
import { go, now } from "../state/history.js";

export function showActive(state) {
  const chips = Object.entries(state.filters).map(([column, filter]) => chip(wording(column, filter), colorsOf(column, filter), () => {
    const filters = { ...now().filters };
    delete filters[column];
    return { filters };
  }));
  if (state.where.trim()) chips.push(chip(state.where.trim(), [], () => ({ where: "" })));
  if (state.zscore !== null) chips.push(chip(`${t("realMatches")} ≥ ${number(state.zscore, 1)} σ`, [], () => ({ zscore: null })));
  byId("active").replaceChildren(...chips);
}

function chip(text, colors, without) {
  const remove = () => go({ ...without(), row: null });
  return el("button", { type: "button", class: "filter-chip", title: t("remove"), "aria-label": `${t("remove")}: ${text}`, on: { click: remove } },
    ...colors.map((color) => el("i", { style: { background: color } })), el("span", { text, dir: "auto" }), icon("close"));
}

const colorsOf = (column, { values = [] }) => (column === "dominant_color" ? values.map((value) => SWATCHES[value]).filter(Boolean) : []);

function wording(column, filter) {
  const name = columnName(column);
  if (column === "aspect") {
    const shape = Object.entries(SHAPES).find(([, { low, high }]) => low === filter.low && high === filter.high);
    if (shape) return t(shape[0]);
  }
  if (filter.values) return `${name}: ${filter.values.map((value) => valueName(column, value)).join(", ")}`;
  if (filter.contains !== undefined) return `${name}: “${filter.contains}”`;
  const bound = (value) => (typeof value === "number" ? number(value, 3) : value);
  if (filter.low === undefined) return `${name} ≤ ${bound(filter.high)}`;
  if (filter.high === undefined) return `${name} ≥ ${bound(filter.low)}`;
  return `${name} ${bound(filter.low)} – ${bound(filter.high)}`;
}

function valueName(column, value) {
  if (column === "dominant_color") return colorName(value);
  if (value === "true" || value === "false") return t(value === "true" ? "yes" : "no");
  return value;
}
