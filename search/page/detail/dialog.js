/** One row in full: its picture, its licence and source, all metadata, and what can be done with it. */

import { byId, el, save } from "../base/dom.js";
import { icon } from "../base/icons.js";
import { inEachLanguage, number, t } from "../base/i18n.js";
import { toast } from "../base/toast.js";
import * as api from "../service/api.js";
import { go, leave, now, onState } from "../state/history.js";
import { NO_QUERY, term } from "../state/state.js";
import { inBasket, toggleBasket } from "../collect/basket.js";
import { credits, table } from "./metadata.js";

const SIZE = 768, LARGE = 2048; // of thumbnails: shown at once; where the browser does not know the original's format

/** @param {{gallery: () => string, hitOf: (row: number) => object|null, step: (row: number, by: number) => Promise<number|null>, closed: (row: number) => void, pick: (hit: object) => void, isPicked: (row: number) => boolean}} page */
export function startDetail(page) {
  const dialog = byId("detail");
  let shown = null; // {gallery, row}
  const update = async (state) => {
    if (state.row === null) {
      if (dialog.open) dialog.close();
      if (shown) page.closed(shown);
      shown = null;
    } else if (state.row !== shown) {
      shown = state.row;
      await show(dialog, page, state.row);
    }
  };
  onState(update);
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    leave({ row: null });
  });
  dialog.addEventListener("click", (event) => (event.target === dialog || event.target.classList.contains("picture")) && leave({ row: null }));
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by && !event.target.matches("input, textarea, select")) {
      event.preventDefault();
      turn(page, by);
    }
  });
  inEachLanguage(() => shown !== null && show(dialog, page, shown));
  return () => update(now());
}

async function turn(page, by) {
  const row = await page.step(now().row, by);
  if (row !== null) go({ row }, { replace: true });
}

async function show(dialog, page, row) {
  const gallery = page.gallery();
  const hit = page.hitOf(row) ?? { row, key: "", caption: null, metadata: {} };
  const side = el("div", { class: "side" });
  const stage = el("div", { class: "picture" });
  const turner = (by, name) => el("button", { type: "button", class: `turn ${name}`, "aria-label": t(name === "left" ? "previous" : "next"), title: t(name === "left" ? "previous" : "next"), on: { click: () => turn(page, by) } }, icon(name));
  dialog.replaceChildren(
    el("div", { class: "frame" }, stage, turner(-1, "left"), turner(1, "right"), side),
    el("button", { type: "button", class: "close", "aria-label": t("close"), title: t("close"), on: { click: () => leave({ row: null }) } }, icon("close")),
  );
  fillStage(stage, gallery, hit);
  fillSide(side, page, hit, null);
  if (!dialog.open) dialog.showModal();
  dialog.querySelector(".close").focus({ preventScroll: true });
  try {
    const full = await api.row(gallery, row);
    if (now().row !== row) return;
    if (!hit.part) fillStage(stage, gallery, { ...hit, ...full });
    fillSide(side, page, { ...hit, ...full }, full.metadata);
  } catch (error) {
    if (now().row === row) side.append(el("p", { class: "problem", role: "alert", text: error.message }));
  }
}

/** The thumbnail at once, and the original over it as soon as it is here. */
function fillStage(stage, gallery, hit) {
  const { width, height } = hit.metadata ?? {};
  const alt = hit.caption || hit.key;
  const size = width > 0 && height > 0 ? { width, height } : {};
  const small = el("img", { src: api.thumbnailUrl(gallery, hit, SIZE), alt, ...size, class: "small" });
  const large = el("img", { src: api.imageUrl(gallery, hit), alt: "", ...size, class: "large", "aria-hidden": "true", on: {
    load: () => {
      large.classList.add("loaded");
      large.alt = alt;
      large.removeAttribute("aria-hidden");
      small.remove();
    },
    error: () => {
      large.remove();
      if (small.dataset.large) return;
      small.dataset.large = "";
      small.src = api.thumbnailUrl(gallery, hit, LARGE);
    },
  } });
  small.addEventListener("error", () => !large.classList.contains("loaded") && stage.replaceChildren(el("p", { class: "gone" }, icon("picture"), el("span", { text: t("gone") }))));
  stage.replaceChildren(small, large);
}

function fillSide(side, page, hit, metadata) {
  const gallery = page.gallery();
  const caption = hit.caption || hit.key || t("rowNumber", { row: hit.row });
  const known = metadata ?? hit.metadata ?? {};
  const facts = [
    known.width > 0 && known.height > 0 && `${known.width} × ${known.height}`,
    Number.isFinite(hit.score) && now().text + now().terms.length !== "0" && `${t("score")} ${number(hit.score, 3)}`,
    Number.isFinite(hit.zscore) && `${number(hit.zscore, 1)} σ`,
  ].filter(Boolean);
  const like = (away) => () => (away ? go({ terms: [...now().terms, term("row", String(hit.row), true)], row: null }) : go({ ...NO_QUERY, terms: [term("row", String(hit.row))] }));
  const basket = el("button", { type: "button", class: "primary", on: { click: () => { toggleBasket(gallery, hit); label(); } } });
  const label = () => {
    const inside = inBasket(gallery, hit.row);
    basket.replaceChildren(icon(inside ? "check" : "basket"), el("span", { text: t(inside ? "inBasket" : "toBasket") }));
    basket.setAttribute("aria-pressed", String(inside));
  };
  label();
  side.replaceChildren(...[
    el("h2", { text: caption, dir: "auto" }),
    el("p", { class: "facts" }, ...facts.map((text) => el("span", { text }))),
    el("div", { class: "actions" },
      basket,
      action("like", t("like"), like(false)),
      (now().text || now().terms.length > 0) && action("minus", t("unlike"), like(true)),
      selector(page, hit),
      small("download", t("original"), () => original(gallery, hit)),
      small("link", t("copyLink"), copyLink),
    ),
    ...(metadata ? [credits(metadata), ...table(metadata)] : [el("div", { class: "lines", "aria-hidden": "true" }, ...Array.from({ length: 7 }, () => el("i", {})))]),
    hit.key && el("p", { class: "key" }, el("code", { text: hit.key, dir: "auto" }), el("span", { text: t("rowNumber", { row: hit.row }) })),
  ].filter(Boolean));
}

const action = (drawing, label, act) => el("button", { type: "button", class: "action", on: { click: act } }, icon(drawing), el("span", { text: label }));

const small = (drawing, label, act) => el("button", { type: "button", class: "action round", "aria-label": label, title: label, on: { click: act } }, icon(drawing));

/** A button that marks the row among the hits. */
function selector(page, hit) {
  const label = () => button.setAttribute("aria-pressed", String(page.isPicked(hit.row)));
  const button = small("check", t("pick"), () => {
    page.pick(hit);
    label();
  });
  label();
  return button;
}

async function original(gallery, hit) {
  try {
    const response = await fetch(api.imageUrl(gallery, hit));
    if (!response.ok) throw new Error((await response.json()).detail);
    const blob = await response.blob();
    const ending = { "image/jpeg": "jpg", "image/svg+xml": "svg" }[blob.type] ?? /^image\/([a-z0-9]+)$/.exec(blob.type)?.[1] ?? "bin";
    save(blob, `${fileName(hit.key || String(hit.row))}.${ending}`);
  } catch (error) {
    toast(error.message);
  }
}

/** A key as the name of a file on any system. */
export const fileName = (key) => key.replace(/[^\p{L}\p{N}_ .-]+/gu, "_").replace(/^[^\p{L}\p{N}_]+/u, "").slice(0, 80).replace(/[ .]+$/, "") || "image";

async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    toast(t("copied"));
  } catch {
    toast(location.href); // only pages of this machine and of https may write to the clipboard
  }
}
