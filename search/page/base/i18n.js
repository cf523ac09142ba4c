/** The language of the page: the browser's, or the one chosen here, which this browser remembers. */

import en from "../words/en.js";
import zh from "../words/zh.js";
import { remembered, remember } from "./remember.js";

const WORDS = { en, zh };
const listeners = new Set();
let language = chosen();

function chosen() {
  const kept = remembered("language");
  if (kept in WORDS) return kept;
  const known = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in WORDS);
  return known ?? "en";
}

export const currentLanguage = () => language;

export function setLanguage(value) {
  language = value;
  remember("language", value);
  localize(document);
  for (const listener of listeners) listener();
}

/** Calls a function now and whenever the language changes. */
export function inEachLanguage(draw) {
  listeners.add(draw);
  draw();
}

/** A text of the page, with the values put in; texts that depend on a number are functions of the values. */
export function t(key, values = {}) {
  const text = WORDS[language][key];
  if (typeof text === "function") return text({ ...values, count: values.count === undefined ? "" : number(values.count), one: values.count === 1 });
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

/** The name of a column for people: the gallery's own name where the page knows none. */
export const columnName = (column) => WORDS[language].columns[column] ?? column;

/** The name of a colour. */
export const colorName = (color) => WORDS[language].colors[color] ?? color;

export const number = (value, digits = 0) =>
  value.toLocaleString(language === "zh" ? "zh-CN" : "en", { maximumFractionDigits: digits });

/** Sets the texts of elements that name them: `data-t`, `data-t-label`, `data-t-placeholder`. */
export function localize(root) {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = t(node.dataset.t);
  for (const node of root.querySelectorAll("[data-t-placeholder]")) node.placeholder = t(node.dataset.tPlaceholder);
  for (const node of root.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", t(node.dataset.tLabel));
    if (node.matches("button, select")) node.title = t(node.dataset.tLabel);
  }
}
