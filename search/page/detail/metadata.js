/** All that a gallery knows of a row, as a list of terms. Values of strangers stay text; only web URLs become links. */

import { el, link, webUrl } from "../base/dom.js";
import { colorName, columnName, number, t } from "../base/i18n.js";
import { SWATCHES } from "../filters/colors.js";

const CREDITS = { licence: ["licence", "license"], author: ["author", "artist", "creator"], source: ["source", "url", "image_url"] };
const FILE = ["shard", "offset", "length", "image_path", "phash", "table_width", "table_height"];
const ABOVE = ["key", "caption", "width", "height"]; // the dialog shows them elsewhere

const empty = (value) => value === null || value === undefined || value === "" || (Array.isArray(value) && value.length === 0);

/** Licence, author and source, with the gallery's own names for them. */
export function credits(metadata) {
  const rows = Object.entries(CREDITS).map(([meaning, names]) => [meaning, metadata[names.find((name) => !empty(metadata[name]))]]);
  return el("dl", { class: "credits" }, ...rows.flatMap(([meaning, value]) => [
    el("dt", { text: columnName(meaning) }),
    el("dd", { class: empty(value) ? "unknown" : "" }, empty(value) ? t("unknown") : meaning === "source" && webUrl(value) ? link(value, hostOf(value)) : shown(meaning, value)),
  ]));
}

/** The further columns, and in a fold those that say where the image lies. */
export function table(metadata) {
  const taken = new Set([...ABOVE, ...FILE, ...Object.values(CREDITS).flat()]);
  const names = Object.keys(metadata).filter((name) => !taken.has(name) && !empty(metadata[name]));
  const file = [...Object.values(CREDITS).flat().filter((name) => webUrl(metadata[name])), ...FILE].filter((name) => !empty(metadata[name]));
  return [
    names.length > 0 && list(names, metadata),
    file.length > 0 && el("details", {}, el("summary", { text: t("file") }), list(file, metadata)),
  ];
}

const list = (names, metadata) =>
  el("dl", {}, ...names.flatMap((name) => [el("dt", { text: columnName(name), title: name, dir: "auto" }), el("dd", {}, shown(name, metadata[name]))]));

function shown(name, value) {
  if (name === "dominant_color" && value in SWATCHES) {
    return el("span", { class: "color" }, el("i", { style: { background: SWATCHES[value] } }), colorName(value));
  }
  if (typeof value === "number") return el("span", { text: number(value, 3) });
  if (typeof value === "boolean") return el("span", { text: t(value ? "yes" : "no") });
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return el("span", { text: value.join(" · "), dir: "auto" });
  if (typeof value === "object") return el("code", { text: JSON.stringify(value, null, 1) });
  return webUrl(value) ? link(value) : el("span", { text: value, dir: "auto" });
}

const hostOf = (url) => new URL(url).hostname.replace(/^www\./, "");
