/** The filter of one column, by what the gallery says of it. */

import { el } from "../base/dom.js";
import { colorName, columnName, number, t } from "../base/i18n.js";
import { SWATCHES } from "./colors.js";
import { checks, dates, range, section, words } from "./controls.js";
import { SHAPES } from "./shapes.js";

/** Columns that say where an image lies, or that the page shows otherwise. */
export const INTERNAL = new Set(["shard", "offset", "length", "image_path", "phash", "dominant_hue", "table_width", "table_height"]);
const FIRST = ["dominant_color", "aspect", "licence", "license"];
const MEASURES = ["width", "height", "brightness", "colorfulness", "contrast", "complexity"];
const RARE = new Set(["key", "caption", "url", "source", "contrast", "complexity"]);

/**
 * @param {object} column an entry of `columns` of `/v1/galleries`
 * @param {object} filter the column's filter, or {}
 * @param {(filter: object|null) => void} change
 * @returns {{node: HTMLElement, place: number, rare: boolean, used: boolean} | null} null where there is nothing to choose
 */
export function byColumn(column, filter, change) {
  const used = Object.keys(filter).length > 0;
  if (INTERNAL.has(column.name) && !used) return null;
  const content = controlOf(column, filter, change, used);
  if (!content) return null;
  return {
    node: section(columnName(column.name), ...content),
    place: placeOf(column),
    rare: RARE.has(column.name) || column.kind === "text" || column.kind === "list",
    used,
  };
}

function controlOf(column, filter, change, used) {
  const label = columnName(column.name);
  if (column.name === "dominant_color" && column.values) return [swatches(column.values, filter.values ?? [], change)];
  if (column.kind === "category" || column.kind === "color") {
    if ((column.values?.length ?? 0) < 2 && !used) return null;
    return [checks(column.values, filter.values ?? [], (values) => change({ values }))];
  }
  if (column.kind === "flag") return [checks(flagValues(column), filter.values ?? [], (values) => change({ values }), { nameOf: (value) => t(value === "true" ? "yes" : "no") })];
  if (column.kind === "range") {
    if (column.min === column.max && !used) return null;
    if (typeof column.min !== "number") return [dates(label, column, filter, change)];
    const whole = Number.isInteger(column.min) && Number.isInteger(column.max) && !/float|double|real/i.test(column.type);
    const bounds = { min: column.min, max: column.max, whole };
    return [column.name === "aspect" ? aspects(label, bounds, filter, change) : range(label, bounds, filter, change)];
  }
  if (column.kind === "text" || column.kind === "list") {
    return [words(label, filter.contains, (contains) => change({ contains }), { placeholder: t(column.kind === "list" ? "hasItem" : "contains") })];
  }
  return null;
}

function placeOf({ name, kind }) {
  if (FIRST.includes(name)) return FIRST.indexOf(name);
  if (kind === "category") return 10;
  if (kind === "flag") return 20;
  if (MEASURES.includes(name)) return 30 + MEASURES.indexOf(name);
  return { range: 50, text: 60, list: 70 }[kind] ?? 80;
}

const flagValues = ({ values, true: yes, false: no, true_count: trues = yes, false_count: falses = no }) =>
  values ?? [{ value: "true", count: trues }, { value: "false", count: falses }];

function swatches(values, chosen, change) {
  const counts = new Map(values.map(({ value, count }) => [value, count]));
  const selected = new Set(chosen);
  const names = Object.keys(SWATCHES).filter((name) => counts.has(name) || selected.has(name));
  return el("div", { class: "swatches" }, ...names.map((name) => {
    const label = `${colorName(name)}${counts.has(name) ? ` · ${number(counts.get(name))}` : ""}`;
    const button = el("button", {
      type: "button", class: "swatch", "aria-label": label, title: label, "aria-pressed": String(selected.has(name)), style: { "--swatch": SWATCHES[name] }, data: { color: name },
      on: { click: () => {
        if (!selected.delete(name)) selected.add(name);
        button.setAttribute("aria-pressed", String(selected.has(name)));
        change({ values: [...selected] });
      } },
    });
    return button;
  }));
}

/** Shapes that set the range of the aspect, and the range itself. */
function aspects(label, bounds, filter, change) {
  const root = el("div", { class: "aspects" });
  const draw = (value) => {
    const same = (shape) => shape.low === value.low && shape.high === value.high;
    const choose = (name, shape, pressed) => {
      draw(pressed ? {} : shape);
      root.querySelector(`.${name}`).focus();
      change(pressed ? null : shape);
    };
    const buttons = Object.entries(SHAPES).map(([name, shape]) =>
      el("button", { type: "button", class: `shape ${name}`, "aria-pressed": String(same(shape)), on: { click: () => choose(name, shape, same(shape)) } },
        el("i", {}), el("span", { text: t(name) })));
    root.replaceChildren(el("div", { class: "shapes" }, ...buttons), range(label, bounds, value, (next) => {
      for (const button of buttons) button.setAttribute("aria-pressed", "false");
      change(next);
    }));
  };
  draw(filter);
  return root;
}
