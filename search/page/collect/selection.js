/** The selection: rows that are marked among the hits, and what is done with all of them. */

import { byId, el, save } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { inEachLanguage, number, t } from "../base/i18n.js";
import { toast } from "../base/toast.js";
import * as api from "../service/api.js";
import { go } from "../state/history.js";
import { NO_QUERY, term } from "../state/state.js";
import { addToBasket } from "./basket.js";

const MOST = 10_000; // rows of one export
const LIKE = 20; // rows of one query

const picked = new Map(); // row → hit
let galleryName = () => "";
let changed = () => {};

export const isPicked = (row) => picked.has(row);

export function startSelection({ gallery, onChange }) {
  galleryName = gallery;
  changed = onChange;
  inEachLanguage(draw);
}

export function pick(hit, yes = !picked.has(hit.row)) {
  if (yes && picked.size >= MOST) return toast(t("tooMany", { count: MOST }));
  if (yes) picked.set(hit.row, hit);
  else picked.delete(hit.row);
  update();
}

export function clearSelection() {
  picked.clear();
  update();
}

export const numPicked = () => picked.size;

function update() {
  draw();
  changed();
}

function draw() {
  const bar = byId("picked");
  bar.hidden = picked.size === 0;
  document.body.classList.toggle("picking", picked.size > 0);
  if (bar.hidden) return bar.replaceChildren();
  const had = bar.contains(document.activeElement) ? document.activeElement.dataset.act : null;
  bar.replaceChildren(
    el("strong", { text: t("picked", { count: picked.size }), role: "status" }),
    act("basket", "basket", t("toBasket"), () => {
      addToBasket(galleryName(), [...picked.values()]);
      toast(t("added", { count: picked.size }));
    }),
    act("like", "like", t("likeThese"), () => {
      const rows = [...picked.keys()].slice(0, LIKE);
      clearSelection();
      go({ ...NO_QUERY, terms: rows.map((row) => term("row", String(row))) });
    }),
    el("span", { class: "formats", role: "group", "aria-label": t("download") }, icon("download"),
      ...["jsonl", "csv", "zip"].map((format) => el("button", { type: "button", text: format.toUpperCase(), title: t(`${format}Note`), data: { act: format }, on: { click: (event) => download(format, event.target) } }))),
    act("clear", "close", t("clearSelection"), clearSelection),
  );
  if (had) bar.querySelector(`[data-act="${had}"]`)?.focus();
}

const act = (name, drawing, label, listener) =>
  el("button", { type: "button", class: `act ${name}`, title: label, "aria-label": label, data: { act: name }, on: { click: listener } }, icon(drawing), el("span", { text: label }));

async function download(format, button) {
  button.disabled = true;
  try {
    const progress = (bytes) => (button.textContent = size(bytes));
    const blob = await api.exported({ gallery: galleryName(), rows: [...picked.keys()], format }, progress);
    save(blob, `${galleryName() || "diantu"}-${picked.size}.${format}`);
  } catch (error) {
    toast(error.message);
  } finally {
    button.disabled = false;
    button.textContent = format.toUpperCase();
  }
}

const size = (bytes) => (bytes < 1 << 20 ? `${number(bytes / 1024)} kB` : `${number(bytes / (1 << 20), 1)} MB`);
